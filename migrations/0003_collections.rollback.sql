DROP TABLE collection_movies;
DROP TABLE collections;

DROP VIEW user_genres;
DROP INDEX collection_movies_by_movie;
ALTER TABLE collections DROP COLUMN version;

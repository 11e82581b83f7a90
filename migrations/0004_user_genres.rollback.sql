DROP VIEW miscounted_users;
DROP FUNCTION add_spellings, sum_spellings, genre_changes;
DROP TABLE user_genres;
DROP FUNCTION most_frequent;

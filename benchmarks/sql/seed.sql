-- name: user
-- A user who never registered.
INSERT INTO users (user_id, username, username_key, password_hash)
VALUES (%(user_id)s, %(user_id)s, sha256(convert_to(%(user_id)s, 'UTF8')), '');

-- name: forget
-- A user and everything of theirs.
DELETE FROM users WHERE user_id = %(user_id)s;

-- name: tidy
-- Take away what deleted rows left, and count what is there.
VACUUM (ANALYZE) users, collections, collection_movies;

-- name: others
-- So many more users, each with two collections of three movies.
WITH person AS (
    INSERT INTO users (user_id, username, username_key, password_hash)
    SELECT uuid, uuid::text, sha256(convert_to(uuid::text, 'UTF8')), ''
    FROM (SELECT gen_random_uuid() AS uuid FROM generate_series(1, %(count)s)) AS made
    RETURNING user_id
), held AS (
    INSERT INTO collections (user_id, title, description)
    SELECT user_id, 'Silent evenings', 'For rainy days' FROM person, generate_series(1, 2)
    RETURNING user_id, collection_uuid
)
INSERT INTO collection_movies (user_id, collection_uuid, movie_uuid, position, title, description, genres)
SELECT user_id, collection_uuid, gen_random_uuid(), position, 'Nosferatu', 'A count buys a house.', 'Drama,Horror'
FROM held, generate_series(1, 3) AS position;

-- name: store
-- Store a collection of a file. If %(create)s, and the user has no collection with that uuid, it is created, with the
-- timestamps that are not null. Otherwise the movies that the collection lacks are appended, unless it would have more
-- than %(max)s or %(max_bytes)s bytes of them; nothing is changed if it lacks none. If its updated_at is that of the
-- file, it stays: then the line continues an earlier line of the same export.
-- One row (number of movies that were new, whether they fit), or none if there is no such user or collection.
UPDATE users SET change_number = change_number + 1 WHERE user_id = %(user_id)s;
WITH found AS MATERIALIZED (
    SELECT movies, movie_uuids, movie_genres FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), sent AS MATERIALIZED (
    SELECT index, uuid, movie, genres, uuid NOT IN (SELECT unnest(movie_uuids) FROM found) AS new
    FROM ROWS FROM (
        unnest(%(movie_uuids)s::uuid[]), json_array_elements(%(movies)s), json_array_elements(%(movie_genres)s)
    ) WITH ORDINALITY AS sent (uuid, movie, genres, index)
), new AS MATERIALIZED (
    SELECT count(*) AS count, string_agg(movie::text, ',' ORDER BY index) AS movies,
        array_agg(uuid ORDER BY index) AS uuids, string_agg(genres::text, ',' ORDER BY index) AS genres
    FROM sent WHERE new
), created AS (
    INSERT INTO collections (
        user_id, collection_uuid, title, description, movies, movie_uuids, movie_genres, created_number, change_number,
        created_at, updated_at)
    SELECT user_id, %(collection_uuid)s, %(title)s, %(description)s, %(movies)s, %(movie_uuids)s, %(movie_genres)s,
        change_number, change_number,
        coalesce(%(created_at)s, clock_timestamp()), coalesce(%(updated_at)s, clock_timestamp())
    FROM users
    WHERE user_id = %(user_id)s AND %(create)s AND NOT EXISTS (SELECT FROM found)
    RETURNING user_id, movie_genres
), changed AS (
    UPDATE collections
    SET movies = json_append(found.movies, new.movies), movie_uuids = found.movie_uuids || new.uuids,
        movie_genres = json_append(found.movie_genres, new.genres), version = gen_random_uuid(),
        change_number = (SELECT change_number FROM users WHERE user_id = %(user_id)s),
        updated_at = CASE WHEN updated_at = %(updated_at)s THEN updated_at ELSE clock_timestamp() END
    FROM found, new
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND new.count > 0
        AND new.count + cardinality(found.movie_uuids) <= %(max)s
        AND octet_length(new.movies) + octet_length(found.movies::text) <= %(max_bytes)s
    RETURNING user_id, json_append('[]', new.genres) AS genres
), counted AS (
    INSERT INTO user_genres AS old (user_id, genre, times, spelling, spellings)
    SELECT user_id, changes.*
    FROM (
            SELECT user_id, movie_genres FROM created UNION ALL SELECT user_id, genres FROM changed
        ) AS stored (user_id, genres),
        genre_changes('[]', genres) AS changes
    ON CONFLICT (user_id, genre) DO UPDATE
    SET times = old.times + excluded.times, spellings = add_spellings(old, excluded)
)
SELECT count, count = 0 OR EXISTS (SELECT FROM created) OR EXISTS (SELECT FROM changed)
FROM new
WHERE EXISTS (SELECT FROM created) OR EXISTS (SELECT FROM found);

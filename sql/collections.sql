-- name: create
-- A collection and its movies, in the order given. One row (collection_uuid, version), or none when the user is gone.
WITH given AS (
    SELECT *
    FROM ROWS FROM (
        json_to_recordset(%(movies)s) AS (uuid uuid, title text, description text, genres text)
    ) WITH ORDINALITY AS movie (uuid, title, description, genres, position)
), created AS (
    INSERT INTO collections (user_id, title, description)
    SELECT user_id, %(title)s, %(description)s FROM users WHERE user_id = %(user_id)s FOR KEY SHARE
    RETURNING user_id, collection_uuid, version
), filled AS (
    INSERT INTO collection_movies (user_id, collection_uuid, movie_uuid, position, title, description, genres)
    SELECT created.user_id, created.collection_uuid, given.uuid, given.position,
        given.title, given.description, given.genres
    FROM created, given
)
SELECT collection_uuid::text, version::text FROM created;

-- name: create_once
-- As create, but nothing where the idempotency key is kept already or another request with it is under way: it is kept
-- before the rest is done. Keys of the user's that ran out are swept.
-- One row (uuid and version of the new collection, or of the one that was kept with the key; whether the key was kept
-- for the same request; no uuid where another request is under way), or none when the user is gone.
WITH given AS (
    SELECT *
    FROM ROWS FROM (
        json_to_recordset(%(movies)s) AS (uuid uuid, title text, description text, genres text)
    ) WITH ORDINALITY AS movie (uuid, title, description, genres, position)
), new AS MATERIALIZED (
    SELECT user_id, gen_random_uuid() AS collection_uuid, gen_random_uuid() AS version
    FROM users WHERE user_id = %(user_id)s
), kept AS (
    SELECT request_digest = %(request_digest)s AS same, collection_uuid, version
    FROM idempotency_keys
    WHERE user_id = %(user_id)s AND key = %(key)s AND created_at > now() - %(kept_seconds)s * interval '1 second'
), claimed AS (
    INSERT INTO idempotency_keys AS old (user_id, key, request_digest, collection_uuid, version)
    SELECT user_id, %(key)s, %(request_digest)s, collection_uuid, version
    FROM new
    WHERE pg_try_advisory_xact_lock(hashtextextended(%(user_id)s || ' ' || %(key)s, 0))
    ON CONFLICT (user_id, key) DO UPDATE
    SET request_digest = excluded.request_digest, collection_uuid = excluded.collection_uuid,
        version = excluded.version, answer = excluded.answer, created_at = excluded.created_at
    WHERE old.created_at <= now() - %(kept_seconds)s * interval '1 second'
    RETURNING user_id, collection_uuid, version
), swept AS (
    DELETE FROM idempotency_keys
    WHERE user_id = %(user_id)s AND key IN (
        SELECT key FROM idempotency_keys
        WHERE user_id = (SELECT user_id FROM claimed) AND key <> %(key)s
            AND created_at <= now() - %(kept_seconds)s * interval '1 second'
        FOR UPDATE SKIP LOCKED)
), created AS (
    INSERT INTO collections (user_id, collection_uuid, version, title, description)
    SELECT user_id, collection_uuid, version, %(title)s, %(description)s FROM claimed
    RETURNING user_id, collection_uuid, version
), filled AS (
    INSERT INTO collection_movies (user_id, collection_uuid, movie_uuid, position, title, description, genres)
    SELECT created.user_id, created.collection_uuid, given.uuid, given.position,
        given.title, given.description, given.genres
    FROM created, given
)
SELECT coalesce(created.collection_uuid, kept.collection_uuid)::text, coalesce(created.version, kept.version)::text, same
FROM new LEFT JOIN created ON true LEFT JOIN kept ON true;

-- name: read
-- One collection, movies in their order. One row (collection json, version), or none when it is not the user's.
SELECT json_build_object(
    'uuid', collection_uuid, 'title', title, 'description', description,
    'created_at', created_at, 'updated_at', updated_at,
    'movies', (
        SELECT coalesce(json_agg(
            json_build_object('uuid', movie_uuid, 'title', title, 'description', description, 'genres', genres)
            ORDER BY position), '[]')
        FROM collection_movies
        WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
    ))::text, version::text
FROM collections
WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s;

-- name: list
-- One page of the user's collections, newest first, with the total and the favourite genres, as they are kept. A page
-- ends early behind the collection with which its texts come to %(bytes)s bytes.
-- One row (collections json, favourite genres json, count, microseconds and uuid of the last one where more follow).
WITH page AS MATERIALIZED (
    SELECT * FROM collections
    WHERE user_id = %(user_id)s AND (created_at, collection_uuid) < (
        coalesce(timestamptz 'epoch' + %(after_microseconds)s * interval '1 microsecond', 'infinity'),
        coalesce(%(after_uuid)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY created_at DESC, collection_uuid DESC
    LIMIT %(limit)s + 1
), filled AS (
    SELECT page.*, held.*, sum(octet_length(page.description) + coalesce(octet_length(held.movies::text), 0))
        OVER (ORDER BY created_at DESC, collection_uuid DESC ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) AS bytes
    FROM page, LATERAL (
        SELECT coalesce((
            SELECT movies FROM collection_tallies
            WHERE user_id = %(user_id)s AND collection_uuid = page.collection_uuid
        ), 0) AS movie_count, CASE WHEN %(movies)s THEN (
            SELECT coalesce(json_agg(
                json_build_object('uuid', movie_uuid, 'title', title, 'description', description, 'genres', genres)
                ORDER BY position), '[]')
            FROM collection_movies
            WHERE user_id = %(user_id)s AND collection_uuid = page.collection_uuid
        ) END AS movies
    ) AS held
    ORDER BY created_at DESC, collection_uuid DESC
    LIMIT %(limit)s
), shown AS (
    SELECT * FROM filled WHERE bytes IS NULL OR bytes < %(bytes)s
), last AS (
    SELECT created_at, collection_uuid FROM shown
    WHERE (SELECT count(*) FROM page) > (SELECT count(*) FROM shown)
    ORDER BY created_at, collection_uuid LIMIT 1
)
SELECT
    (
        SELECT coalesce(json_agg(
            CASE WHEN movies IS NULL THEN json_build_object(
                'uuid', collection_uuid, 'title', title, 'description', description,
                'created_at', created_at, 'updated_at', updated_at, 'movie_count', movie_count)
            ELSE json_build_object(
                'uuid', collection_uuid, 'title', title, 'description', description,
                'created_at', created_at, 'updated_at', updated_at, 'movie_count', movie_count, 'movies', movies)
            END ORDER BY created_at DESC, collection_uuid DESC), '[]')::text
        FROM shown
    ),
    to_json(coalesce((SELECT favourite_genres FROM user_tallies WHERE user_id = %(user_id)s), ''))::text,
    coalesce((SELECT collections FROM user_tallies WHERE user_id = %(user_id)s), 0),
    (SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM last),
    (SELECT collection_uuid::text FROM last);

-- name: update
-- Change what is not null and keep the rest; movies, where given, are the whole new list. The row is locked first, so
-- that of two lists that meet one wins whole. One row (version, null where another version than those meant is in
-- force), or none when it is not the user's.
SELECT FROM collections WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s FOR UPDATE;
WITH argument AS MATERIALIZED (
    SELECT %(movies)s::json AS movies
), given AS MATERIALIZED (
    SELECT movie.*
    FROM argument, ROWS FROM (
        json_to_recordset(argument.movies) AS (uuid uuid, title text, description text, genres text)
    ) WITH ORDINALITY AS movie (uuid, title, description, genres, position)
), held AS (
    SELECT (%(only)s::text[] IS NULL OR version::text = ANY(%(only)s)) AND version::text <> ALL(%(unless)s) AS meant
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), changed AS (
    UPDATE collections
    SET title = coalesce(%(title)s, title), description = coalesce(%(description)s, description),
        version = gen_random_uuid(), updated_at = clock_timestamp()
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND (SELECT meant FROM held)
    RETURNING user_id, collection_uuid, version
), removed AS (
    DELETE FROM collection_movies
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
        AND (SELECT meant FROM held) AND (SELECT movies IS NOT NULL FROM argument)
        -- NOT IN is hashed, however few movies the planner believes in; no uuid is null
        AND movie_uuid NOT IN (SELECT uuid FROM given)
), filled AS (
    INSERT INTO collection_movies (user_id, collection_uuid, movie_uuid, position, title, description, genres)
    SELECT changed.user_id, changed.collection_uuid, given.uuid, given.position,
        given.title, given.description, given.genres
    FROM changed, given
    ON CONFLICT (user_id, collection_uuid, movie_uuid) DO UPDATE
    SET position = excluded.position, title = excluded.title,
        description = excluded.description, genres = excluded.genres
)
SELECT (SELECT version::text FROM changed) FROM held;

-- name: delete
-- A collection and its movies. One row (version, null where another version than those meant is in force), or none
-- when it is not the user's.
SELECT FROM collections WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s FOR UPDATE;
WITH held AS (
    SELECT (%(only)s::text[] IS NULL OR version::text = ANY(%(only)s)) AND version::text <> ALL(%(unless)s) AS meant
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), deleted AS (
    DELETE FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND (SELECT meant FROM held)
    RETURNING version
)
SELECT (SELECT version::text FROM deleted) FROM held;

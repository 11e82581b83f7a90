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
-- Collections, movies in their order, each for the one who asks. For each place that is asked for and there, a row
-- (place, collection json, version); the json is null where it is large and was not asked for apart.
WITH asked AS (
    SELECT *
    FROM unnest(%(user_id)s::uuid[], %(collection_uuid)s::uuid[], %(apart)s::boolean[])
        WITH ORDINALITY AS asked (user_id, collection_uuid, apart, place)
)
SELECT place, CASE WHEN apart OR octet_length(description) <= 65536 AND coalesce(held.movies, 0) <= 200
    THEN json_build_object(
        'uuid', collections.collection_uuid, 'title', title, 'description', description,
        'created_at', created_at, 'updated_at', updated_at,
        'movies', (
            SELECT coalesce(json_agg(
                json_build_object('uuid', movie_uuid, 'title', title, 'description', description, 'genres', genres)
                ORDER BY position), '[]')
            FROM collection_movies
            WHERE user_id = asked.user_id AND collection_uuid = asked.collection_uuid
        ))::text END, version::text
FROM asked
JOIN collections ON collections.user_id = asked.user_id AND collections.collection_uuid = asked.collection_uuid
LEFT JOIN collection_tallies AS held
    ON held.user_id = asked.user_id AND held.collection_uuid = asked.collection_uuid;

-- name: list
-- Pages of collections, newest first, each for the one who asks, with the total and the favourite genres. A page ends
-- early behind the collection with which its texts come to so many bytes. For each place that is asked for, a row
-- (place, collections json, favourite genres json, count, microseconds and uuid of the last one where more follow); the
-- collections are null where they are large and were not asked for apart.
WITH asked AS (
    SELECT user_id, most, movies, bytes, apart, place,
        coalesce(timestamptz 'epoch' + microseconds * interval '1 microsecond', 'infinity') AS before,
        coalesce(last, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS before_uuid
    FROM unnest(
        %(user_id)s::uuid[], %(limit)s::integer[], %(movies)s::boolean[], %(after_microseconds)s::bigint[],
        %(after_uuid)s::uuid[], %(bytes)s::bigint[], %(apart)s::boolean[]
    ) WITH ORDINALITY AS asked (user_id, most, movies, microseconds, last, bytes, apart, place)
)
SELECT place, answer.collections, to_json(coalesce(favourite_genres, ''))::text,
    (SELECT count(*) FROM collections WHERE user_id = asked.user_id), answer.microseconds, answer.last
FROM asked, LATERAL (
    SELECT CASE WHEN count(*) < 2 THEN min(favourite_genres) ELSE (
        SELECT favourites_of(spellings) FROM kept_tallies WHERE user_id = asked.user_id) END AS favourite_genres
    FROM user_tallies
    WHERE user_id = asked.user_id
) AS tally, LATERAL (
    WITH page AS MATERIALIZED (
        SELECT found.*, row_number() OVER (ORDER BY created_at DESC, collection_uuid DESC) AS number, coalesce((
            SELECT movies FROM collection_tallies
            WHERE user_id = asked.user_id AND collection_uuid = found.collection_uuid), 0) AS movie_count
        FROM (
            SELECT * FROM collections
            WHERE user_id = asked.user_id AND (created_at, collection_uuid) < (asked.before, asked.before_uuid)
            ORDER BY created_at DESC, collection_uuid DESC
            LIMIT asked.most + 1
        ) AS found
    ), size AS (
        SELECT count(*) AS collections, asked.apart OR (
            sum(octet_length(description)) <= 65536 AND (NOT asked.movies OR sum(movie_count) <= 200)) AS light
        FROM page
    ), filled AS MATERIALIZED (
        SELECT page.*, CASE WHEN asked.movies THEN (
            SELECT coalesce(json_agg(
                json_build_object('uuid', movie_uuid, 'title', title, 'description', description, 'genres', genres)
                ORDER BY position), '[]')
            FROM collection_movies
            WHERE user_id = asked.user_id AND collection_uuid = page.collection_uuid
        ) END AS movies
        FROM page, size
        WHERE number <= asked.most AND light
    ), shown AS (
        SELECT *
        FROM (
            SELECT filled.*, sum(size) OVER (ORDER BY number) - size AS bytes_before
            FROM filled, LATERAL (
                SELECT octet_length(description) + coalesce(octet_length(movies::text), 0) AS size
            ) AS measured
        ) AS summed
        WHERE bytes_before < asked.bytes
    )
    SELECT CASE WHEN (SELECT light IS NOT false FROM size) THEN coalesce(json_agg(
            CASE WHEN movies IS NULL THEN json_build_object(
                'uuid', collection_uuid, 'title', title, 'description', description,
                'created_at', created_at, 'updated_at', updated_at, 'movie_count', movie_count)
            ELSE json_build_object(
                'uuid', collection_uuid, 'title', title, 'description', description,
                'created_at', created_at, 'updated_at', updated_at, 'movie_count', movie_count, 'movies', movies)
            END ORDER BY number), '[]') END::text AS collections,
        CASE WHEN count(*) < (SELECT collections FROM size)
            THEN (extract(epoch FROM min(created_at)) * 1000000)::bigint END AS microseconds,
        CASE WHEN count(*) < (SELECT collections FROM size)
            THEN (array_agg(collection_uuid ORDER BY number DESC))[1]::text END AS last
    FROM shown
) AS answer
ORDER BY place;

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

-- name: add
-- Movies at the end of a collection, in the order given; those that it has stay as they are. Nothing is added where
-- it would have more than %(most)s then, nor where the idempotency key is kept already or another request with it is
-- under way. The row of the collection is locked first, as by everything that changes it.
-- One row (whether the key was kept for the same request, whether no other request with it is under way, whether the
-- collection is there, whether its version is one of those meant, whether all fit, answer json, version after it).
SELECT set_config('movieserver.alone', coalesce(
    pg_try_advisory_xact_lock(hashtextextended(%(user_id)s || ' ' || %(key)s, 0)), true)::text, true);
SELECT FROM collections
WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
    AND current_setting('movieserver.alone')::boolean
FOR UPDATE;
WITH own AS MATERIALIZED (
    SELECT movie_uuid, position FROM collection_movies
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), given AS MATERIALIZED (
    SELECT movie.*, uuid NOT IN (SELECT movie_uuid FROM own) AS fresh
    FROM ROWS FROM (
        json_to_recordset(%(movies)s) AS (uuid uuid, title text, description text, genres text)
    ) WITH ORDINALITY AS movie (uuid, title, description, genres, place)
), outcome AS MATERIALIZED (
    SELECT current_setting('movieserver.alone')::boolean AS alone, gen_random_uuid() AS version,
        (SELECT count(*) FROM own) + count(*) FILTER (WHERE fresh) <= %(most)s AS fits,
        json_build_object(
            'added', count(*) FILTER (WHERE fresh), 'existing', count(*) FILTER (WHERE NOT fresh),
            'items', coalesce(json_agg(json_build_object(
                'uuid', uuid, 'result', CASE WHEN fresh THEN 'added' ELSE 'existing' END) ORDER BY place), '[]')
        )::text AS answer
    FROM given
), held AS (
    SELECT (%(only)s::text[] IS NULL OR version::text = ANY(%(only)s)) AND version::text <> ALL(%(unless)s) AS meant
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), kept AS (
    SELECT request_digest = %(request_digest)s AS same, version, answer
    FROM idempotency_keys
    WHERE user_id = %(user_id)s AND key = %(key)s AND created_at > now() - %(kept_seconds)s * interval '1 second'
), claimed AS (
    INSERT INTO idempotency_keys AS old (user_id, key, request_digest, collection_uuid, version, answer)
    SELECT %(user_id)s, %(key)s, %(request_digest)s, %(collection_uuid)s, version, answer
    FROM held, outcome
    WHERE %(key)s IS NOT NULL AND alone AND meant AND fits
    ON CONFLICT (user_id, key) DO UPDATE
    SET request_digest = excluded.request_digest, collection_uuid = excluded.collection_uuid,
        version = excluded.version, answer = excluded.answer, created_at = excluded.created_at
    WHERE old.created_at <= now() - %(kept_seconds)s * interval '1 second'
    RETURNING user_id
), swept AS (
    DELETE FROM idempotency_keys
    WHERE user_id = %(user_id)s AND key IN (
        SELECT key FROM idempotency_keys
        WHERE user_id = (SELECT user_id FROM claimed) AND key <> %(key)s
            AND created_at <= now() - %(kept_seconds)s * interval '1 second'
        FOR UPDATE SKIP LOCKED)
), changed AS (
    UPDATE collections SET version = outcome.version, updated_at = clock_timestamp()
    FROM held, outcome
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND alone AND meant AND fits
        AND (%(key)s IS NULL OR EXISTS (SELECT FROM claimed))
    RETURNING user_id, collection_uuid, collections.version
), filled AS (
    INSERT INTO collection_movies (user_id, collection_uuid, movie_uuid, position, title, description, genres)
    SELECT changed.user_id, changed.collection_uuid, given.uuid,
        (SELECT coalesce(max(position), 0) FROM own) + given.place, given.title, given.description, given.genres
    FROM changed, given
    WHERE given.fresh
)
SELECT same, alone, meant IS NOT NULL, meant, fits, coalesce(kept.answer, outcome.answer),
    coalesce(kept.version, changed.version)::text
FROM outcome LEFT JOIN held ON true LEFT JOIN kept ON true LEFT JOIN changed ON true;

-- name: remove
-- One movie out of a collection. One row (version, null where another than those meant is in force), or none when it
-- is not in a collection of the user's.
SELECT FROM collections WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s FOR UPDATE;
WITH held AS (
    SELECT (%(only)s::text[] IS NULL OR version::text = ANY(%(only)s)) AND version::text <> ALL(%(unless)s) AS meant
    FROM collections JOIN collection_movies USING (user_id, collection_uuid)
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND movie_uuid = %(movie_uuid)s
), changed AS (
    UPDATE collections SET version = gen_random_uuid(), updated_at = clock_timestamp()
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND (SELECT meant FROM held)
    RETURNING version
), removed AS (
    DELETE FROM collection_movies
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND movie_uuid = %(movie_uuid)s
        AND (SELECT meant FROM held)
)
SELECT (SELECT version::text FROM changed) FROM held;

-- name: reorder
-- The movies of a collection in another order, which names each of them. One row (version, whether the version in force
-- is one of those meant, places from 0 of those that it has not, uuids of those that are not named; no version where
-- nothing was done), or none when it is not the user's.
SELECT FROM collections WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s FOR UPDATE;
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(movies)s::uuid[]) WITH ORDINALITY AS movie (uuid, place)
), own AS MATERIALIZED (
    SELECT movie_uuid, position FROM collection_movies
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), outcome AS MATERIALIZED (
    SELECT ARRAY(SELECT place - 1 FROM given WHERE uuid NOT IN (SELECT movie_uuid FROM own) ORDER BY place) AS unknown,
        ARRAY(
            SELECT movie_uuid::text FROM own WHERE movie_uuid NOT IN (SELECT uuid FROM given) ORDER BY position
        ) AS missing
), held AS (
    SELECT (%(only)s::text[] IS NULL OR version::text = ANY(%(only)s)) AND version::text <> ALL(%(unless)s) AS meant
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), changed AS (
    UPDATE collections SET version = gen_random_uuid(), updated_at = clock_timestamp()
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
        AND (SELECT meant FROM held) AND (SELECT unknown = '{}' AND missing = '{}' FROM outcome)
    RETURNING user_id, collection_uuid, version
), moved AS (
    UPDATE collection_movies SET position = given.place
    FROM changed, given
    WHERE collection_movies.user_id = %(user_id)s AND collection_movies.collection_uuid = changed.collection_uuid
        AND movie_uuid = given.uuid AND position <> given.place
)
SELECT (SELECT version::text FROM changed), meant, unknown, missing FROM held, outcome;

-- name: holding
-- One page of the user's collections that a movie is in, newest first, with their number.
-- One row (collections json, count, microseconds and uuid of the last one where more follow).
WITH holding AS MATERIALIZED (
    SELECT collection_uuid, created_at, collections.title
    FROM collection_movies JOIN collections USING (user_id, collection_uuid)
    WHERE user_id = %(user_id)s AND movie_uuid = %(movie_uuid)s
), page AS MATERIALIZED (
    SELECT * FROM holding
    WHERE (created_at, collection_uuid) < (
        coalesce(timestamptz 'epoch' + %(after_microseconds)s * interval '1 microsecond', 'infinity'),
        coalesce(%(after_uuid)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY created_at DESC, collection_uuid DESC
    LIMIT %(limit)s + 1
), shown AS (
    SELECT * FROM page ORDER BY created_at DESC, collection_uuid DESC LIMIT %(limit)s
), last AS (
    SELECT created_at, collection_uuid FROM shown
    WHERE (SELECT count(*) FROM page) > %(limit)s
    ORDER BY created_at, collection_uuid LIMIT 1
)
SELECT
    (
        SELECT coalesce(json_agg(
            json_build_object('uuid', collection_uuid, 'title', title)
            ORDER BY created_at DESC, collection_uuid DESC), '[]')::text
        FROM shown
    ),
    (SELECT count(*) FROM holding),
    (SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM last),
    (SELECT collection_uuid::text FROM last);

-- name: add
-- Append movies to a collection; those that it already has do not change. Nothing is added if it would have more than
-- %(max)s movies or %(max_bytes)s bytes of them, or if the idempotency key is stored or a request with it is running;
-- expired keys are deleted.
-- One row (whether the stored request is the same, whether no other is running, whether the collection exists, whether
-- the precondition holds, whether all fit, response json, version).
UPDATE users SET change_number = change_number + 1
WHERE user_id = %(user_id)s::uuid AND set_config('movieserver.owns_key', coalesce(pg_try_advisory_xact_lock(
    hashtextextended(%(user_id)s::text || ' ' || %(key)s, 0)), true)::text, true)::boolean;
WITH stored AS (
    SELECT request_digest = %(request_digest)s AS same, version, response
    FROM idempotency_keys
    WHERE user_id = %(user_id)s AND key = %(key)s AND created_at > now() - %(stored_seconds)s * interval '1 second'
), found AS MATERIALIZED (
    SELECT movies, movie_uuids, movie_genres,
        (%(match)s::text[] IS NULL OR version::text = ANY(%(match)s))
            AND version::text <> ALL(%(none_match)s::text[]) AS holds
    FROM collections
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
), outcome AS MATERIALIZED (
    SELECT current_setting('movieserver.owns_key', true) IS DISTINCT FROM 'false' AS owns_key,
        gen_random_uuid() AS version,
        new.count = 0 OR new.count + coalesce((SELECT cardinality(movie_uuids) FROM found), 0) <= %(max)s
            AND octet_length(new.movies) + coalesce((SELECT octet_length(movies::text) FROM found), 0) <= %(max_bytes)s
            AS fits,
        (
            SELECT format('{"added":%%s,"existing":%%s,"items":[%%s]}', new.count, count(*) - new.count, string_agg(
                format('{"uuid":"%%s","result":"%%s"}', uuid, CASE WHEN sent.new THEN 'added' ELSE 'existing' END), ','
                ORDER BY index))
            FROM sent
        ) AS response
    FROM new
), claimed AS (
    INSERT INTO idempotency_keys AS expired (user_id, key, request_digest, collection_uuid, version, response)
    SELECT %(user_id)s, %(key)s, %(request_digest)s, %(collection_uuid)s, version, response
    FROM found, outcome
    WHERE %(key)s::text IS NOT NULL AND owns_key AND holds AND fits
    ON CONFLICT (user_id, key) DO UPDATE
    SET request_digest = excluded.request_digest, collection_uuid = excluded.collection_uuid,
        version = excluded.version, response = excluded.response, created_at = excluded.created_at
    WHERE expired.created_at <= now() - %(stored_seconds)s * interval '1 second'
    RETURNING user_id
), swept AS (
    DELETE FROM idempotency_keys
    WHERE user_id = (SELECT user_id FROM claimed) AND key <> %(key)s
        AND created_at <= now() - %(stored_seconds)s * interval '1 second'
), changed AS (
    UPDATE collections
    SET movies = json_append(found.movies, new.movies), movie_uuids = found.movie_uuids || new.uuids,
        movie_genres = json_append(found.movie_genres, new.genres),
        version = outcome.version, updated_at = clock_timestamp(),
        change_number = (SELECT change_number FROM users WHERE user_id = %(user_id)s)
    FROM found, new, outcome
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND owns_key AND holds AND fits
        AND (%(key)s::text IS NULL OR EXISTS (SELECT FROM claimed))
    RETURNING user_id, collections.version, json_append('[]', new.genres) AS genres
), counted AS (
    INSERT INTO user_genres AS old (user_id, genre, times, spelling, spellings)
    SELECT user_id, changes.* FROM changed, genre_changes('[]', genres) AS changes
    ON CONFLICT (user_id, genre) DO UPDATE
    SET times = old.times + excluded.times, spellings = add_spellings(old, excluded)
)
SELECT same, owns_key, holds IS NOT NULL, holds, fits, coalesce(stored.response, outcome.response),
    coalesce(stored.version, changed.version)::text
FROM outcome LEFT JOIN found ON true LEFT JOIN stored ON true LEFT JOIN changed ON true;

-- name: remove
-- Remove a movie from a collection. One row (version, null if the precondition fails), or none if the user has no such
-- collection with that movie.
UPDATE users SET change_number = change_number + 1 WHERE user_id = %(user_id)s;
DELETE FROM user_genres WHERE user_id = %(user_id)s AND times = 0;
WITH found AS MATERIALIZED (
    SELECT movies, movie_uuids, movie_genres, array_position(movie_uuids, %(movie_uuid)s) AS index,
        (%(match)s::text[] IS NULL OR version::text = ANY(%(match)s))
            AND version::text <> ALL(%(none_match)s::text[]) AS holds
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND %(movie_uuid)s = ANY(movie_uuids)
), changed AS (
    UPDATE collections
    SET movies = (
            SELECT ('[' || coalesce(string_agg(movie::text, ',' ORDER BY number), '') || ']')::json
            FROM json_array_elements(found.movies) WITH ORDINALITY AS movie (movie, number)
            WHERE number <> index),
        movie_uuids = array_remove(found.movie_uuids, %(movie_uuid)s),
        movie_genres = (
            SELECT ('[' || coalesce(string_agg(genres::text, ',' ORDER BY number), '') || ']')::json
            FROM json_array_elements(found.movie_genres) WITH ORDINALITY AS movie (genres, number)
            WHERE number <> index),
        version = gen_random_uuid(), updated_at = clock_timestamp(),
        change_number = (SELECT change_number FROM users WHERE user_id = %(user_id)s)
    FROM found
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND holds
    RETURNING user_id, version, json_build_array(found.movie_genres -> (index - 1)) AS removed
), counted AS (
    INSERT INTO user_genres AS old (user_id, genre, times, spelling, spellings)
    SELECT user_id, changes.* FROM changed, genre_changes(removed, '[]') AS changes
    ON CONFLICT (user_id, genre) DO UPDATE
    SET times = old.times + excluded.times, spellings = add_spellings(old, excluded)
)
SELECT (SELECT version::text FROM changed) FROM found;

-- name: reorder
-- Put the movies of a collection in another order. One row (version or null if nothing was changed, whether the
-- precondition holds, indexes (from 0) of uuids that the collection does not have, uuids that the order lacks), or none
-- if the user has no such collection.
UPDATE users SET change_number = change_number + 1 WHERE user_id = %(user_id)s;
WITH found AS MATERIALIZED (
    SELECT movies, movie_uuids, movie_genres,
        (%(match)s::text[] IS NULL OR version::text = ANY(%(match)s))
            AND version::text <> ALL(%(none_match)s::text[]) AS holds
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), sent AS MATERIALIZED (
    SELECT * FROM unnest(%(movie_uuids)s::uuid[]) WITH ORDINALITY AS sent (uuid, index)
), own AS MATERIALIZED (
    SELECT own.* FROM found, ROWS FROM (
        unnest(movie_uuids), json_array_elements(movies), json_array_elements(movie_genres)
    ) WITH ORDINALITY AS own (uuid, movie, genres, index)
), mismatch AS MATERIALIZED (
    SELECT ARRAY(SELECT index - 1 FROM sent WHERE uuid NOT IN (SELECT uuid FROM own) ORDER BY index) AS unknown,
        ARRAY(SELECT uuid::text FROM own WHERE uuid NOT IN (SELECT uuid FROM sent) ORDER BY index) AS missing
), changed AS (
    UPDATE collections
    SET movies = ordered.movies, movie_uuids = %(movie_uuids)s, movie_genres = ordered.genres,
        version = gen_random_uuid(), updated_at = clock_timestamp(),
        change_number = (SELECT change_number FROM users WHERE user_id = %(user_id)s)
    FROM mismatch, found, (
        SELECT ('[' || coalesce(string_agg(movie::text, ',' ORDER BY sent.index), '') || ']')::json AS movies,
            ('[' || coalesce(string_agg(genres::text, ',' ORDER BY sent.index), '') || ']')::json AS genres
        FROM sent JOIN own USING (uuid)
    ) AS ordered
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND holds
        AND unknown = '{}' AND missing = '{}'
    RETURNING version
)
SELECT (SELECT version::text FROM changed), holds, unknown, missing FROM found, mismatch;

-- name: list_containing
-- One page of the user's collections that contain a movie, newest first.
-- One row (collections json, count, microseconds and uuid of the last one if more follow).
WITH containing AS MATERIALIZED (
    SELECT collection_uuid AS uuid, title, created_at FROM collections
    WHERE user_id = %(user_id)s AND %(movie_uuid)s = ANY(movie_uuids)
), following AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY created_at DESC, uuid DESC) AS number
    FROM containing
    WHERE (created_at, uuid) < (
        coalesce(timestamptz 'epoch' + %(after_microseconds)s * interval '1 microsecond', 'infinity'),
        coalesce(%(after_uuid)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY created_at DESC, uuid DESC
    LIMIT %(limit)s + 1
), last AS (
    SELECT created_at, uuid FROM following
    WHERE number = %(limit)s AND EXISTS (SELECT FROM following WHERE number > %(limit)s)
)
SELECT
    (
        SELECT coalesce('[' || string_agg(row_to_json(entry)::text, ',') || ']', '[]')
        FROM (SELECT uuid, title FROM following WHERE number <= %(limit)s ORDER BY number) AS entry
    ),
    (SELECT count(*) FROM containing),
    (SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM last),
    (SELECT uuid::text FROM last);

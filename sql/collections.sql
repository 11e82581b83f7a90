-- name: create
-- A new collection. One row (collection_uuid, version), or none if the user is gone.
WITH owner AS (
    UPDATE users SET change_number = change_number + 1 WHERE user_id = %(user_id)s RETURNING user_id, change_number
), created AS (
    INSERT INTO collections (
        user_id, title, description, movies, movie_uuids, movie_genres, created_number, change_number)
    SELECT user_id, %(title)s, %(description)s, %(movies)s, %(movie_uuids)s, %(movie_genres)s,
        change_number, change_number
    FROM owner
    RETURNING user_id, collection_uuid, version
), counted AS (
    INSERT INTO user_genres AS old (user_id, genre, times, spelling, spellings)
    SELECT user_id, changes.* FROM created, json_to_recordset(%(genre_changes)s)
        AS changes (genre text, times integer, spelling text, spellings jsonb)
    ON CONFLICT (user_id, genre) DO UPDATE
    SET times = old.times + excluded.times, spellings = add_spellings(old, excluded)
)
SELECT collection_uuid::text, version::text FROM created;

-- name: create_once
-- As create, unless the idempotency key is stored or a request with it is running; expired keys are deleted.
-- One row (whether the stored request is the same, whether no other is running, collection_uuid, version), or none if
-- the user is gone.
UPDATE users SET change_number = change_number + 1
WHERE user_id = %(user_id)s::uuid AND set_config('movieserver.owns_key', pg_try_advisory_xact_lock(
    hashtextextended(%(user_id)s::text || ' ' || %(key)s, 0))::text, true)::boolean;
WITH owner AS MATERIALIZED (
    SELECT user_id, change_number, gen_random_uuid() AS collection_uuid, gen_random_uuid() AS version,
        current_setting('movieserver.owns_key', true) IS DISTINCT FROM 'false' AS owns_key
    FROM users WHERE user_id = %(user_id)s
), stored AS (
    SELECT request_digest = %(request_digest)s AS same, collection_uuid, version
    FROM idempotency_keys
    WHERE user_id = %(user_id)s AND key = %(key)s AND created_at > now() - %(stored_seconds)s * interval '1 second'
), claimed AS (
    INSERT INTO idempotency_keys AS expired (user_id, key, request_digest, collection_uuid, version)
    SELECT user_id, %(key)s, %(request_digest)s, collection_uuid, version
    FROM owner WHERE owns_key
    ON CONFLICT (user_id, key) DO UPDATE
    SET request_digest = excluded.request_digest, collection_uuid = excluded.collection_uuid,
        version = excluded.version, response = NULL, created_at = excluded.created_at
    WHERE expired.created_at <= now() - %(stored_seconds)s * interval '1 second'
    RETURNING user_id, collection_uuid, version
), swept AS (
    DELETE FROM idempotency_keys
    WHERE user_id = (SELECT user_id FROM claimed) AND key <> %(key)s
        AND created_at <= now() - %(stored_seconds)s * interval '1 second'
), created AS (
    INSERT INTO collections (
        user_id, collection_uuid, version, title, description, movies, movie_uuids, movie_genres, created_number,
        change_number)
    SELECT claimed.*, %(title)s, %(description)s, %(movies)s, %(movie_uuids)s, %(movie_genres)s, change_number,
        change_number
    FROM claimed, owner
    RETURNING user_id, collection_uuid, version
), counted AS (
    INSERT INTO user_genres AS old (user_id, genre, times, spelling, spellings)
    SELECT user_id, changes.* FROM created, json_to_recordset(%(genre_changes)s)
        AS changes (genre text, times integer, spelling text, spellings jsonb)
    ON CONFLICT (user_id, genre) DO UPDATE
    SET times = old.times + excluded.times, spellings = add_spellings(old, excluded)
)
SELECT same, owns_key, coalesce(created.collection_uuid, stored.collection_uuid)::text,
    coalesce(created.version, stored.version)::text
FROM owner LEFT JOIN stored ON true LEFT JOIN created ON true;

-- name: get
-- Collections, batched. Rows (index, collection json, version); the json is null if it is over 256 KiB and not alone.
SELECT index, CASE WHEN %(alone)s OR bytes <= 262144 THEN concat(
        '{"uuid":"', collection_uuid, '","title":', to_json(title), ',"description":', to_json(description),
        ',"created_at":"', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","updated_at":"', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","shared":', CASE WHEN shared_until > now() THEN 'true' ELSE 'false' END, ',"movies":', movies, '}') END,
    version::text || CASE WHEN shared_until > now() THEN '-shared' ELSE '' END
FROM unnest(%(user_id)s::uuid[], %(collection_uuid)s::uuid[])
    WITH ORDINALITY AS request (user_id, uuid, index), LATERAL (
    SELECT * FROM collections
    WHERE user_id = request.user_id AND collection_uuid = request.uuid
    LIMIT 1  -- makes the planner use the key, whatever the statistics of the table
) AS found;

-- name: list_page
-- Pages of collections, newest first, batched. A page ends early with the collection that brings it to 16 MiB.
-- Rows (index, collections json, favourite genres json, count, microseconds and uuid of the last collection if more
-- follow, versions of the collections); the collections are null if they are over 256 KiB and not alone.
SELECT index, page.collections, favourite.genres, (SELECT count(*) FROM collections WHERE user_id = request.user_id),
    page.microseconds, page.last, page.versions
FROM unnest(
    %(user_id)s::uuid[], %(limit)s::integer[], %(movies)s::boolean[], %(after_microseconds)s::bigint[],
    %(after_uuid)s::uuid[]
) WITH ORDINALITY AS request (user_id, max, with_movies, after_microseconds, after_uuid, index), LATERAL (
    SELECT to_json(coalesce(string_agg(name, ',' ORDER BY times DESC, genre), ''))::text AS genres
    FROM (
        SELECT name, times, genre FROM user_genres
        WHERE user_id = request.user_id AND times > 0
        ORDER BY times DESC, genre
        LIMIT 3
    ) AS top
) AS favourite, LATERAL (
    SELECT CASE WHEN %(alone)s OR coalesce(max(total) FILTER (WHERE shown), 0) <= 262144
            THEN coalesce('[' || string_agg(entry, ',' ORDER BY number) || ']', '[]') END AS collections,
        CASE WHEN NOT bool_and(shown)
            THEN (extract(epoch FROM min(created_at) FILTER (WHERE shown)) * 1000000)::bigint END AS microseconds,
        CASE WHEN NOT bool_and(shown)
            THEN (array_agg(collection_uuid ORDER BY number DESC) FILTER (WHERE shown))[1]::text END AS last,
        coalesce(string_agg(
            version::text || CASE WHEN shared_until > now() THEN '-shared' ELSE '' END, '' ORDER BY number
        ) FILTER (WHERE shown), '') AS versions
    FROM (
        SELECT collection_uuid, version, shared_until, created_at, number, total, shown, CASE
            WHEN shown AND (%(alone)s OR total <= 262144) THEN concat(
                '{"uuid":"', collection_uuid, '","title":', to_json(title), ',"description":', to_json(description),
                ',"created_at":"', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                '","updated_at":"', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                '","shared":', CASE WHEN shared_until > now() THEN 'true' ELSE 'false' END,
                ',"movie_count":', movie_count, CASE WHEN with_movies THEN ',"movies":' END,
                CASE WHEN with_movies THEN movies END, '}') END AS entry
        FROM (
            SELECT *, row_number() OVER newest_first <= request.max
                    AND sum(size) OVER newest_first - size < 16777216 AS shown,
                row_number() OVER newest_first AS number, sum(size) OVER newest_first AS total
            FROM (
                SELECT *, CASE WHEN request.with_movies THEN bytes ELSE octet_length(description) END AS size
                FROM collections
                WHERE user_id = request.user_id AND (created_at, collection_uuid) < (
                    coalesce(timestamptz 'epoch' + request.after_microseconds * interval '1 microsecond', 'infinity'),
                    coalesce(request.after_uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                ORDER BY created_at DESC, collection_uuid DESC
                LIMIT request.max + 1
            ) AS sized
            WINDOW newest_first AS (ORDER BY created_at DESC, collection_uuid DESC ROWS UNBOUNDED PRECEDING)
        ) AS measured
    ) AS entries
) AS page;

-- name: update
-- Change what is not null; movies are the whole new list. One row (version, null if the precondition fails), or none if
-- the user has no such collection.
UPDATE users SET change_number = change_number + 1 WHERE user_id = %(user_id)s;
DELETE FROM user_genres WHERE user_id = %(user_id)s AND times = 0;
WITH found AS (
    SELECT movie_genres,
        (%(match)s::text[] IS NULL OR version::text = ANY(%(match)s))
            AND version::text <> ALL(%(none_match)s::text[]) AS holds
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), changed AS (
    UPDATE collections
    SET title = coalesce(%(title)s, title), description = coalesce(%(description)s, description),
        movies = coalesce(%(movies)s, movies), movie_uuids = coalesce(%(movie_uuids)s, movie_uuids),
        movie_genres = coalesce(%(movie_genres)s, collections.movie_genres),
        version = gen_random_uuid(), updated_at = clock_timestamp(),
        change_number = (SELECT change_number FROM users WHERE user_id = %(user_id)s)
    FROM found
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND holds
    RETURNING user_id, version, found.movie_genres AS before, collections.movie_genres AS after
), counted AS (
    INSERT INTO user_genres AS old (user_id, genre, times, spelling, spellings)
    SELECT user_id, changes.* FROM changed, genre_changes(before, after) AS changes WHERE %(movies)s IS NOT NULL
    ON CONFLICT (user_id, genre) DO UPDATE
    SET times = old.times + excluded.times, spellings = add_spellings(old, excluded)
)
SELECT (SELECT version::text FROM changed) FROM found;

-- name: delete
-- Delete a collection and record that for sql/changes.sql. Of the ten oldest records of the user, those that are older
-- than %(deletion_days)s days are deleted.
-- One row (version, null if the precondition fails), or none if the user has no such collection.
UPDATE users SET change_number = change_number + 1 WHERE user_id = %(user_id)s;
DELETE FROM user_genres WHERE user_id = %(user_id)s AND times = 0;
DELETE FROM deleted_collections AS deleted USING (
    SELECT collection_uuid FROM deleted_collections WHERE user_id = %(user_id)s
    ORDER BY change_number, collection_uuid LIMIT 10
) AS oldest
WHERE user_id = %(user_id)s AND deleted.collection_uuid = oldest.collection_uuid
    AND deleted_at < now() - %(deletion_days)s * interval '1 day';
WITH found AS (
    SELECT (%(match)s::text[] IS NULL OR version::text = ANY(%(match)s))
        AND version::text <> ALL(%(none_match)s::text[]) AS holds
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), deleted AS (
    DELETE FROM collections USING found
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND holds
    RETURNING user_id, collection_uuid, version, movie_genres
), remembered AS (
    INSERT INTO deleted_collections (user_id, collection_uuid, version, change_number)
    SELECT user_id, collection_uuid, version, (SELECT change_number FROM users WHERE user_id = %(user_id)s)
    FROM deleted
    ON CONFLICT (user_id, collection_uuid) DO UPDATE
    SET version = excluded.version, change_number = excluded.change_number, deleted_at = excluded.deleted_at
), counted AS (
    INSERT INTO user_genres AS old (user_id, genre, times, spelling, spellings)
    SELECT user_id, changes.* FROM deleted, genre_changes(movie_genres, '[]') AS changes
    ON CONFLICT (user_id, genre) DO UPDATE
    SET times = old.times + excluded.times, spellings = add_spellings(old, excluded)
)
SELECT (SELECT version::text FROM deleted) FROM found;

-- name: create
-- Share a collection, unless a share with another digest than %(lost_digest)s is valid.
-- One row (nonce, digest, and expiry or null of the valid share), or none if the user has no such collection.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
WITH shared AS (
    UPDATE collections
    SET share_nonce = %(nonce)s, share_digest = %(digest)s,
        shared_until = coalesce(now() + %(days)s * interval '1 day', 'infinity')
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
        AND (shared_until IS NULL OR shared_until <= now() OR share_digest = %(lost_digest)s)
    RETURNING share_nonce, share_digest, shared_until
), current AS (
    SELECT * FROM shared
    UNION ALL
    SELECT share_nonce, share_digest, shared_until FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND NOT EXISTS (SELECT FROM shared)
)
SELECT share_nonce, share_digest, CASE WHEN shared_until < 'infinity'
    THEN to_char(shared_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END
FROM current;

-- name: delete
-- End the share of a collection. One row (collection_uuid), or none if the user has no such collection that is shared.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
WITH found AS (
    SELECT shared_until FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s AND shared_until > now()
)
UPDATE collections SET share_nonce = NULL, share_digest = NULL, shared_until = NULL
FROM found
WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
RETURNING collection_uuid::text;

-- name: get
-- What a share link shows, without the notes of the owner. One row (json, version), or none if no valid share has
-- that digest.
SELECT concat(
        '{"title":', to_json(title), ',"description":', to_json(description),
        ',"updated_at":"', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","movies":', CASE WHEN strpos(movies::text, '"note":') = 0 THEN movies::text ELSE (
            SELECT '[' || string_agg(without_note, ',' ORDER BY index) || ']'
            FROM json_array_elements(movies) WITH ORDINALITY AS one (movie, index), LATERAL (
                SELECT '{' || string_agg(to_json(key) || ':' || value, ',' ORDER BY number) || '}' AS without_note
                FROM json_each(movie) WITH ORDINALITY AS member (key, value, number)
                WHERE key <> 'note') AS members) END, '}'),
    version::text
FROM collections
WHERE share_digest = %(digest)s AND shared_until > now();

-- name: create
-- A new token of a user; their expired ones are deleted. One row (token_uuid, created_at, expires_at), of nulls if the
-- user has %(max_tokens)s tokens; or none if the user is gone or the login named %(login)s has ended.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
DELETE FROM personal_tokens WHERE user_id = %(user_id)s AND expires_at <= now();
WITH login AS (
    SELECT user_id FROM sessions
    WHERE user_id = %(user_id)s AND public_uuid = %(login)s AND expires_at > now()
), created AS (
    INSERT INTO personal_tokens (user_id, token_digest, name, scope, expires_at)
    SELECT user_id, %(token_digest)s, %(token_name)s, %(scope)s, now() + %(expires_in_days)s * interval '1 day'
    FROM login
    WHERE (SELECT count(*) FROM personal_tokens WHERE user_id = %(user_id)s) < %(max_tokens)s
    RETURNING token_uuid, created_at, expires_at
)
SELECT token_uuid::text,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM login LEFT JOIN created ON true;

-- name: find
-- Valid tokens by their digests, batched. Rows (index, scope, seconds until it expires or null, whether today's use
-- is written).
SELECT index, scope, extract(epoch FROM expires_at - now())::float8,
    last_used IS NOT DISTINCT FROM (now() AT TIME ZONE 'UTC')::date
FROM unnest(%(user_id)s::uuid[], %(token_digest)s::bytea[])
    WITH ORDINALITY AS request (user_id, digest, index), LATERAL (
    SELECT * FROM personal_tokens
    WHERE user_id = request.user_id AND token_digest = request.digest AND (expires_at > now()) IS NOT FALSE
    LIMIT 1  -- makes the planner use the key, whatever the statistics of the table
) AS found;

-- name: record_use
-- Record that the token was used today, unless another statement has locked the user: a read must not wait for a write.
-- No row.
WITH locked AS MATERIALIZED (
    SELECT user_id FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE personal_tokens SET last_used = (now() AT TIME ZONE 'UTC')::date
WHERE user_id = %(user_id)s AND token_digest = %(token_digest)s AND EXISTS (SELECT FROM locked)
    AND last_used IS DISTINCT FROM (now() AT TIME ZONE 'UTC')::date;

-- name: list_all
-- The user's valid tokens, newest first. One row (tokens json).
SELECT coalesce('[' || string_agg(row_to_json(entry)::text, ',') || ']', '[]')
FROM (
    SELECT token_uuid AS uuid, name, scope,
        to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
        to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS expires_at,
        last_used
    FROM personal_tokens
    WHERE user_id = %(user_id)s AND (expires_at > now()) IS NOT FALSE
    ORDER BY personal_tokens.created_at DESC, token_uuid
) AS entry;

-- name: delete
-- Delete a token. One row (token_uuid), or none if it is not the user's.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
DELETE FROM personal_tokens
WHERE user_id = %(user_id)s AND token_uuid = %(token_uuid)s
RETURNING token_uuid::text;

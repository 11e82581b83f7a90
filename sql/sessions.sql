-- name: open_session
-- A new login of a user; their expired sessions are deleted.
-- One row (user_id), or none if the user is gone or the password was changed after it was read.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
WITH swept AS (
    DELETE FROM sessions WHERE user_id = %(user_id)s AND expires_at <= now()
), owner AS (
    UPDATE users SET last_login = now()
    WHERE user_id = %(user_id)s AND password_changes = %(password_changes)s
    RETURNING user_id
)
INSERT INTO sessions (user_id, session_uuid, refresh_digest, expires_at)
SELECT user_id, %(session_uuid)s, %(refresh_digest)s, now() + %(lifetime)s * interval '1 second'
FROM owner
RETURNING user_id::text;

-- name: rotate
-- Spend a refresh token and store its successor. A token that was spent less than %(grace)s seconds ago gets the same
-- successor; any other token of this login ends it. One row (digest of the successor), or none if the token is not
-- valid.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
DELETE FROM spent_refresh_tokens
WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
    AND spent_at <= clock_timestamp() - %(grace)s * interval '1 second';
WITH rotated AS (
    UPDATE sessions
    SET refresh_digest = %(next_digest)s, refreshed_at = clock_timestamp(),
        expires_at = now() + %(lifetime)s * interval '1 second'
    WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
        AND refresh_digest = %(refresh_digest)s AND expires_at > now()
    RETURNING user_id, session_uuid, refresh_digest
), spent AS (
    INSERT INTO spent_refresh_tokens (user_id, session_uuid, refresh_digest, successor_digest)
    SELECT user_id, session_uuid, %(refresh_digest)s, refresh_digest FROM rotated
), repeated AS (
    SELECT spent.successor_digest
    FROM spent_refresh_tokens AS spent JOIN sessions USING (user_id, session_uuid)
    WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
        AND spent.refresh_digest = %(refresh_digest)s AND expires_at > now()
), ended AS (
    DELETE FROM sessions
    WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
        AND refresh_digest <> %(refresh_digest)s AND NOT EXISTS (SELECT FROM repeated)
)
SELECT refresh_digest FROM rotated UNION ALL SELECT successor_digest FROM repeated;

-- name: close_session
-- End a login, by any token that it ever had. No row.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
DELETE FROM sessions WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s;

-- name: list_all
-- The user's logins that can be refreshed, newest first; `current` is the one named %(login)s. One row (sessions json).
SELECT coalesce('[' || string_agg(row_to_json(entry)::text, ',') || ']', '[]')
FROM (
    SELECT public_uuid AS uuid,
        to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
        to_char(refreshed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS refreshed_at,
        to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS expires_at,
        coalesce(public_uuid = %(login)s, false) AS current
    FROM sessions
    WHERE user_id = %(user_id)s AND expires_at > now()
    ORDER BY sessions.created_at DESC, public_uuid
) AS entry;

-- name: revoke
-- End the login with that public uuid. One row (public_uuid), or none if it is not the user's.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
DELETE FROM sessions
WHERE user_id = %(user_id)s AND public_uuid = %(login)s
RETURNING public_uuid::text;

-- name: revoke_all
-- End every login of the user. No row.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
DELETE FROM sessions WHERE user_id = %(user_id)s;

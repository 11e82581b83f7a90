-- name: open
-- A new login of a user; sessions of theirs that ran out are swept. One row (user_id), or none when the user is gone.
WITH swept AS (
    DELETE FROM sessions WHERE user_id = %(user_id)s AND expires_at <= now()
), opened AS (
    INSERT INTO sessions (user_id, session_uuid, refresh_digest, expires_at)
    SELECT user_id, %(session_uuid)s, %(refresh_digest)s, now() + %(lifetime)s * interval '1 second'
    FROM users WHERE user_id = %(user_id)s
    RETURNING user_id
)
SELECT user_id::text FROM opened;

-- name: rotate
-- Spend a refresh token and put the next in its place. One row (user_id), or none when it was not in force.
UPDATE sessions
SET refresh_digest = %(next_digest)s, expires_at = now() + %(lifetime)s * interval '1 second'
WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
    AND refresh_digest = %(refresh_digest)s AND expires_at > now()
RETURNING user_id::text;

-- name: close
-- End a login, by any token that it ever had. One row (session_uuid), or none when it had ended.
DELETE FROM sessions
WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
RETURNING session_uuid::text;

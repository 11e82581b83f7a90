-- name: open
-- A new login of a user; sessions of theirs that ran out are swept. Waits for a change of the password under way.
-- One row (user_id), or none when the user is gone or has changed the password more than %(password_changes)s times.
WITH owner AS (
    SELECT user_id FROM users WHERE user_id = %(user_id)s AND password_changes = %(password_changes)s FOR SHARE
), swept AS (
    DELETE FROM sessions WHERE user_id = %(user_id)s AND expires_at <= now()
), opened AS (
    INSERT INTO sessions (user_id, session_uuid, refresh_digest, expires_at)
    SELECT user_id, %(session_uuid)s, %(refresh_digest)s, now() + %(lifetime)s * interval '1 second'
    FROM owner
    RETURNING user_id
)
SELECT user_id::text FROM opened;

-- name: rotate
-- Spend a refresh token and put the next in its place; of several at once the first one does, the others see it. The
-- token spent last gets the same answer for %(grace)s seconds; any other one of this login ends it.
-- One row (refresh_digest in force), or none when the token is not in force.
SELECT FROM sessions WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s FOR UPDATE;
WITH rotated AS (
    UPDATE sessions
    SET refresh_digest = %(next_digest)s, previous_digest = refresh_digest, refreshed_at = clock_timestamp(),
        expires_at = now() + %(lifetime)s * interval '1 second'
    WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
        AND refresh_digest = %(refresh_digest)s AND expires_at > now()
    RETURNING refresh_digest
), repeated AS (
    SELECT refresh_digest FROM sessions
    WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s AND expires_at > now()
        AND previous_digest = %(refresh_digest)s
        AND refreshed_at > clock_timestamp() - %(grace)s * interval '1 second'
), ended AS (
    DELETE FROM sessions
    WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
        AND refresh_digest <> %(refresh_digest)s AND NOT EXISTS (SELECT FROM repeated)
)
SELECT refresh_digest FROM rotated UNION ALL SELECT refresh_digest FROM repeated;

-- name: close
-- End a login, by any token that it ever had. One row (session_uuid), or none when it had ended.
DELETE FROM sessions
WHERE user_id = %(user_id)s AND session_uuid = %(session_uuid)s
RETURNING session_uuid::text;

-- name: list
-- The user's logins that can be refreshed, newest first; `current` is the one named %(login)s. One row (sessions json).
SELECT coalesce(json_agg(
    json_build_object(
        'uuid', public_uuid, 'created_at', created_at, 'refreshed_at', refreshed_at, 'expires_at', expires_at,
        'current', coalesce(public_uuid = %(login)s, false))
    ORDER BY created_at DESC, public_uuid), '[]')::text
FROM sessions
WHERE user_id = %(user_id)s AND expires_at > now();

-- name: revoke
-- End the login of that public uuid. One row (public_uuid), or none when it is not the user's.
DELETE FROM sessions
WHERE user_id = %(user_id)s AND public_uuid = %(login)s
RETURNING public_uuid::text;

-- name: revoke_all
-- End every login of the user. One row (how many).
WITH ended AS (
    DELETE FROM sessions WHERE user_id = %(user_id)s RETURNING user_id
)
SELECT count(*) FROM ended;

-- name: register
-- A new user and a first session. One row (user_id), or none when the name is taken.
WITH registered AS (
    INSERT INTO users (user_id, username, username_key, password_hash)
    VALUES (%(user_id)s, %(username)s, %(username_key)s, %(password_hash)s)
    ON CONFLICT (username_key) DO NOTHING
    RETURNING user_id
), opened AS (
    INSERT INTO sessions (user_id, session_uuid, refresh_digest, expires_at)
    SELECT user_id, %(session_uuid)s, %(refresh_digest)s, now() + %(lifetime)s * interval '1 second'
    FROM registered
)
SELECT user_id::text FROM registered;

-- name: find
-- The user of that name: one row (user_id, password_hash), or none.
SELECT user_id::text, password_hash FROM users WHERE username_key = %(username_key)s;

-- name: register
-- A new user and a first session. One row (user_id), or none if the name is taken.
WITH registered AS (
    INSERT INTO users (user_id, username, username_key, password_hash, last_login)
    VALUES (%(user_id)s, %(username)s, %(username_key)s, %(password_hash)s, now())
    ON CONFLICT (username_key) DO NOTHING
    RETURNING user_id
), opened AS (
    INSERT INTO sessions (user_id, session_uuid, refresh_digest, expires_at)
    SELECT user_id, %(session_uuid)s, %(refresh_digest)s, now() + %(lifetime)s * interval '1 second'
    FROM registered
)
SELECT user_id::text FROM registered;

-- name: add
-- A new user, without a session. One row (user_id), or none if the name is taken.
INSERT INTO users (user_id, username, username_key, password_hash)
VALUES (%(user_id)s, %(username)s, %(username_key)s, %(password_hash)s)
ON CONFLICT (username_key) DO NOTHING
RETURNING user_id::text;

-- name: find
-- The user with that name: one row (user_id, username_key, password_hash, password_changes), or none.
SELECT user_id::text, username_key, password_hash, password_changes
FROM users WHERE username_key = %(username_key)s;

-- name: get
-- That user: one row (user_id, username_key, password_hash, password_changes), or none.
SELECT user_id::text, username_key, password_hash, password_changes
FROM users WHERE user_id = %(user_id)s;

-- name: rehash
-- Store another hash of the same password, unless the hash is no longer the one that was read. No row.
UPDATE users SET password_hash = %(password_hash)s
WHERE user_id = %(user_id)s AND password_hash = %(outdated)s;

-- name: change_password
-- Store another password; it ends every login but the one named %(login)s.
-- One row (user_id), or none if the user is gone or the password was changed after it was read.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
WITH changed AS (
    UPDATE users SET password_hash = %(password_hash)s, password_changes = password_changes + 1
    WHERE user_id = %(user_id)s AND password_changes = %(password_changes)s
    RETURNING user_id
), ended AS (
    DELETE FROM sessions
    WHERE user_id = (SELECT user_id FROM changed) AND public_uuid IS DISTINCT FROM %(login)s
)
SELECT user_id::text FROM changed;

-- name: reset_password
-- Store another password; it ends every login and deletes every personal token.
-- One row (how many logins, how many tokens), or none if the user is gone.
SELECT FROM users WHERE user_id = %(user_id)s FOR NO KEY UPDATE;
WITH changed AS (
    UPDATE users SET password_hash = %(password_hash)s, password_changes = password_changes + 1
    WHERE user_id = %(user_id)s
    RETURNING user_id
), ended AS (
    DELETE FROM sessions WHERE user_id = %(user_id)s RETURNING expires_at
), deleted AS (
    DELETE FROM personal_tokens WHERE user_id = %(user_id)s RETURNING expires_at
)
SELECT (SELECT count(*) FROM ended WHERE expires_at > now()),
    (SELECT count(*) FROM deleted WHERE (expires_at > now()) IS NOT FALSE)
FROM changed;

-- name: delete
-- Delete a user and all of their data. One row (user_id), or none if there is no such user.
SELECT FROM users WHERE user_id = %(user_id)s FOR UPDATE;
DELETE FROM user_genres WHERE user_id = %(user_id)s;
DELETE FROM users WHERE user_id = %(user_id)s RETURNING user_id::text;

-- name: list_all
-- Every user, oldest first. Rows (user_id, username, created_at, last_login or null, collections).
SELECT user_id::text, username,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(last_login AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    coalesce(count, 0)
FROM users LEFT JOIN (SELECT user_id, count(*) FROM collections GROUP BY user_id) AS counted USING (user_id)
ORDER BY users.created_at;

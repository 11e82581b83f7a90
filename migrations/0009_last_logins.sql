-- depends: 0002_sessions

ALTER TABLE users ADD COLUMN last_login timestamptz;

COMMENT ON COLUMN users.last_login IS 'when the newest login began; sessions that have ended are deleted and cannot tell';

UPDATE users SET last_login = (SELECT max(created_at) FROM sessions WHERE sessions.user_id = users.user_id);

-- depends: 0001_users 0002_sessions

ALTER TABLE users ADD password_changes integer NOT NULL DEFAULT 0;

COMMENT ON COLUMN users.password_changes IS
    'how often the user changed the password: a login that read an older one comes too late';

ALTER TABLE sessions
    ADD public_uuid uuid NOT NULL
        GENERATED ALWAYS AS (encode(substring(sha256(uuid_send(session_uuid)) FOR 16), 'hex')::uuid) STORED,
    ADD previous_digest bytea,
    ADD refreshed_at timestamptz;

COMMENT ON COLUMN sessions.session_uuid IS 'part of every refresh token of this login, and told nowhere else';
COMMENT ON COLUMN sessions.public_uuid IS 'the name of this login for lists and access tokens';
COMMENT ON COLUMN sessions.previous_digest IS
    'SHA-256 of the refresh token spent last, at refreshed_at: shown again within seconds, it gets the same successor';

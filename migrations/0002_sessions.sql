-- depends: 0001_users

CREATE TABLE sessions (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    session_uuid uuid NOT NULL,
    public_uuid uuid NOT NULL
        GENERATED ALWAYS AS (encode(substring(sha256(uuid_send(session_uuid)) FOR 16), 'hex')::uuid) STORED,
    refresh_digest bytea NOT NULL,
    previous_digest bytea,
    refreshed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, session_uuid)
);

COMMENT ON TABLE sessions IS 'one row for each login that can still be refreshed';
COMMENT ON COLUMN sessions.session_uuid IS 'part of every refresh token of this login; never shown anywhere else';
COMMENT ON COLUMN sessions.public_uuid IS 'names this login in lists and access tokens';
COMMENT ON COLUMN sessions.refresh_digest IS 'SHA-256 of the refresh token in force';
COMMENT ON COLUMN sessions.previous_digest IS
    'SHA-256 of the refresh token spent last, at refreshed_at; for some seconds it still gets the same successor';

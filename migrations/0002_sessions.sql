-- depends: 0001_users

CREATE TABLE sessions (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    session_uuid uuid NOT NULL,
    refresh_digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, session_uuid)
);

COMMENT ON TABLE sessions IS 'one row a login that can still be refreshed';
COMMENT ON COLUMN sessions.refresh_digest IS 'SHA-256 of the only refresh token of this login that is not spent';

-- depends: 0002_sessions

CREATE TABLE spent_refresh_tokens (
    user_id uuid NOT NULL,
    session_uuid uuid NOT NULL,
    refresh_digest bytea NOT NULL,
    successor_digest bytea NOT NULL,
    spent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, session_uuid, refresh_digest),
    FOREIGN KEY (user_id, session_uuid) REFERENCES sessions ON DELETE CASCADE
);

COMMENT ON TABLE spent_refresh_tokens IS
    'refresh tokens that were spent a moment ago, as SHA-256; for some seconds each still gets the same successor';
COMMENT ON COLUMN sessions.previous_digest IS 'not used any more: spent_refresh_tokens has it';

CREATE TABLE users (
    user_id uuid NOT NULL,
    username text NOT NULL,
    username_key bytea NOT NULL,
    password_hash text NOT NULL,
    password_changes integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id),
    UNIQUE (username_key)
);

COMMENT ON TABLE users IS 'whoever writes for a user locks their row first, so writes of one user run one after the other';
COMMENT ON COLUMN users.username_key IS
    'SHA-256 of the name after NFKC and case folding: equal for equal names, and short enough to index';
COMMENT ON COLUMN users.password_changes IS
    'how often the password was changed; a login that checked an older password is refused';

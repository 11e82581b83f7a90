CREATE TABLE users (
    user_id uuid NOT NULL,
    username text NOT NULL,
    username_key bytea NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id),
    UNIQUE (username_key)
);

COMMENT ON COLUMN users.username_key IS
    'SHA-256 of the name after NFKC and case folding: equal for names that are one name, and short enough to index whatever the name is';

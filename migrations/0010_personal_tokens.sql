-- depends: 0001_users

CREATE TABLE personal_tokens (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    token_digest bytea NOT NULL,
    token_uuid uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'write')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    last_used date,
    PRIMARY KEY (user_id, token_digest)
);

COMMENT ON TABLE personal_tokens IS 'bearer tokens that users make for their scripts; a user has at most 100';
COMMENT ON COLUMN personal_tokens.token_digest IS 'SHA-256 of the 256 random bits of the token';
COMMENT ON COLUMN personal_tokens.token_uuid IS 'names this token in lists; it says nothing about the token';
COMMENT ON COLUMN personal_tokens.expires_at IS 'null: never';
COMMENT ON COLUMN personal_tokens.last_used IS 'the day in UTC; written once a day, by the first use';

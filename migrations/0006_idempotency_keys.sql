-- depends: 0001_users

CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    key text NOT NULL,
    request_digest bytea NOT NULL,
    collection_uuid uuid NOT NULL,
    version uuid NOT NULL,
    answer text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

COMMENT ON TABLE idempotency_keys IS
    'what a request with an Idempotency-Key was answered; written by the statement that carried it out';
COMMENT ON COLUMN idempotency_keys.request_digest IS 'SHA-256 of method, path and body';
COMMENT ON COLUMN idempotency_keys.version IS 'the version of the collection after the request';
COMMENT ON COLUMN idempotency_keys.answer IS 'JSON; null for a creation, of which collection_uuid and version say all';

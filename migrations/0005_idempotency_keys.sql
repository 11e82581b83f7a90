-- depends: 0001_users

CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    key text NOT NULL,
    request_digest bytea NOT NULL,
    collection_uuid uuid NOT NULL,
    version uuid NOT NULL,
    response text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

COMMENT ON TABLE idempotency_keys IS
    'the response to a request with an Idempotency-Key; written by the statement that carried it out';
COMMENT ON COLUMN idempotency_keys.request_digest IS 'SHA-256 of method, path and body';
COMMENT ON COLUMN idempotency_keys.version IS 'the version of the collection after the request';
COMMENT ON COLUMN idempotency_keys.response IS 'JSON; null for a creation, which collection_uuid and version describe';

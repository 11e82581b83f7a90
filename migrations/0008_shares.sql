-- depends: 0003_collections

ALTER TABLE collections
    ADD COLUMN share_nonce bytea,
    ADD COLUMN share_digest bytea,
    ADD COLUMN shared_until timestamptz;

CREATE UNIQUE INDEX collections_shared ON collections (share_digest) WHERE share_digest IS NOT NULL;

COMMENT ON COLUMN collections.share_nonce IS
    'random; the token of the share link follows from it and from a key that is not in the database';
COMMENT ON COLUMN collections.share_digest IS 'SHA-256 of that token';
COMMENT ON COLUMN collections.shared_until IS 'infinity without an end; null if it is not shared';

ALTER TABLE collections DROP COLUMN shared_until, DROP COLUMN share_digest, DROP COLUMN share_nonce;

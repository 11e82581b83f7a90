ALTER TABLE sessions DROP COLUMN public_uuid, DROP COLUMN previous_digest, DROP COLUMN refreshed_at;
ALTER TABLE users DROP COLUMN password_changes;

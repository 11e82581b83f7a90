-- depends: 0003_collections

ALTER TABLE users
    ADD COLUMN change_number bigint NOT NULL DEFAULT 0,
    SET (fillfactor = 80);

ALTER TABLE collections
    ADD COLUMN created_number bigint NOT NULL DEFAULT 0,
    ADD COLUMN change_number bigint NOT NULL DEFAULT 0;

CREATE INDEX collections_by_change ON collections (user_id, change_number, collection_uuid);

CREATE TABLE deleted_collections (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    collection_uuid uuid NOT NULL,
    version uuid NOT NULL,
    change_number bigint NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, collection_uuid)
);

CREATE INDEX deleted_collections_by_change ON deleted_collections (user_id, change_number, collection_uuid);

COMMENT ON COLUMN users.change_number IS
    'of the last change of a collection of the user; counted up by the statement that locks the row, so that numbers are
in the order of the commits';
COMMENT ON COLUMN collections.created_number IS 'the number of the change that created it';
COMMENT ON COLUMN collections.change_number IS
    'the number of its last change; 0 for what is older than these columns, or was written by a server that does not
know them, which is before every change';
COMMENT ON TABLE deleted_collections IS
    'tells those who follow the changes of a user what is gone; the next deletions remove what is old';
COMMENT ON COLUMN deleted_collections.version IS 'the last one';

DROP TABLE deleted_collections;
ALTER TABLE collections DROP COLUMN change_number, DROP COLUMN created_number;
ALTER TABLE users DROP COLUMN change_number;
ALTER TABLE users RESET (fillfactor);

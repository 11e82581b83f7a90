DROP FUNCTION json_append;
DROP TABLE collections;

-- name: migrations
-- Which migrations the database has. One row (names), or none when it is a standby.
SELECT coalesce((SELECT array_agg(migration_id::text) FROM _yoyo_migration), '{}') WHERE NOT pg_is_in_recovery();

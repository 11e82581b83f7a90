-- name: migrations
-- Which migrations the database has. One row (names), or none when it is a standby.
SELECT coalesce((SELECT array_agg(migration_id::text) FROM _yoyo_migration), '{}') WHERE NOT pg_is_in_recovery();

-- name: server
-- What the server is like. One row (connections that it allows to those who are no superuser, whether a commit that
-- was acknowledged outlives a crash).
SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true), '0')::integer,
    current_setting('fsync')::boolean AND current_setting('synchronous_commit') <> 'off';

-- name: migrations
-- Which migrations the database has. One row (names).
SELECT coalesce(array_agg(migration_id::text), '{}') FROM _yoyo_migration;

-- name: server
-- Properties of the server. One row (connections that it allows to roles that are not superusers, whether an
-- acknowledged commit survives a crash).
SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true), '0')::integer,
    current_setting('fsync')::boolean AND current_setting('synchronous_commit') <> 'off';

-- name: obstacle
-- What keeps the server from serving or, if %(migrating)s, the migrations from being applied. At most one row (what is
-- wrong, the statement that fixes it or null). It reads the catalogue only: it works on any database.
WITH path AS (
    SELECT nullif(btrim(name, ' "'), '$user') AS name, position
    FROM unnest(string_to_array(current_setting('search_path'), ',')) WITH ORDINALITY AS part (name, position)
), here AS (
    SELECT current_database() AS database, current_user AS role, current_schema() AS usable,
        coalesce(
            current_schema(), (SELECT name FROM path WHERE name <> '' ORDER BY position LIMIT 1), 'public') AS schema,
        (SELECT relowner FROM pg_class WHERE oid = to_regclass('_yoyo_migration')) AS owner
), found (number, holds, problem, remedy) AS (
    SELECT obstacle.* FROM here, LATERAL (VALUES
        (1, current_setting('server_encoding') <> 'UTF8',
            format('the encoding of the database is %%s, not UTF8', current_setting('server_encoding')),
            format('CREATE DATABASE %%I ENCODING ''UTF8'' LOCALE ''C'' TEMPLATE template0;', database || '_utf8')),
        (2, pg_is_in_recovery(), 'it is a standby: nothing can be written to it', NULL),
        (3, current_setting('transaction_read_only')::boolean,
            'it is read-only: default_transaction_read_only is on',
            format('ALTER ROLE %%I IN DATABASE %%I SET default_transaction_read_only = off;', role, database)),
        (4, %(migrating)s AND to_regnamespace(quote_ident(schema)) IS NULL,
            format('there is no schema %%I, the first of search_path', schema),
            format('CREATE SCHEMA %%I AUTHORIZATION %%I;', schema, role)),
        (5, %(migrating)s AND usable IS NULL,
            format('this user may not use schema %%I', schema),
            format('GRANT USAGE, CREATE ON SCHEMA %%I TO %%I;', schema, role)),
        (6, %(migrating)s AND NOT has_schema_privilege(usable, 'CREATE'),
            format('this user may not create tables in schema %%I', schema),
            format('GRANT CREATE ON SCHEMA %%I TO %%I;', schema, role)),
        (7, %(migrating)s AND NOT pg_has_role(owner, 'USAGE'),
            'the tables belong to another user',
            format('GRANT %%I TO %%I;', coalesce(pg_get_userbyid(owner), role), role)),
        (8, NOT %(migrating)s AND EXISTS (
                SELECT FROM pg_class
                WHERE relnamespace = to_regnamespace(quote_ident(schema)) AND relkind = 'r' AND relowner = owner
                    AND CASE WHEN relname = '_yoyo_migration' THEN NOT has_table_privilege(oid, 'SELECT')
                        WHEN relname NOT LIKE '%%yoyo%%' THEN NOT (
                            has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')) END),
            'this user may not read and write all tables',
            format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %%I TO %%I;', schema, role))
    ) AS obstacle (number, holds, problem, remedy)
)
SELECT problem, remedy FROM found WHERE holds ORDER BY number LIMIT 1;

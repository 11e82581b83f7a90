-- name: list_page
-- Changes of the user's collections after a position, in the order of their commits; of each collection only the last.
-- One row (changes json, number and collection of the last one, whether more follow, microseconds now, whether the
-- position is one that the database has reached).
WITH changed AS (
    SELECT change_number, collection_uuid,
        CASE WHEN created_number > %(after_number)s THEN 'created' ELSE 'updated' END AS change,
        version, updated_at AS at
    FROM collections
    WHERE user_id = %(user_id)s AND (change_number, collection_uuid) > (%(after_number)s, %(after_uuid)s::uuid)
    ORDER BY change_number, collection_uuid
    LIMIT %(limit)s + 1
), deleted AS (
    SELECT change_number, collection_uuid, 'deleted', version, deleted_at
    FROM deleted_collections
    WHERE user_id = %(user_id)s AND (change_number, collection_uuid) > (%(after_number)s, %(after_uuid)s::uuid)
        AND NOT EXISTS (
            SELECT FROM collections
            WHERE user_id = %(user_id)s AND collection_uuid = deleted_collections.collection_uuid)
    ORDER BY change_number, collection_uuid
    LIMIT %(limit)s + 1
), following AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY change_number, collection_uuid) AS number
    FROM (TABLE changed UNION ALL TABLE deleted) AS both_kinds
), page AS (
    SELECT * FROM following WHERE number <= %(limit)s
), last AS (
    SELECT change_number, collection_uuid FROM page ORDER BY number DESC LIMIT 1
)
SELECT
    (
        SELECT coalesce('[' || string_agg(row_to_json(entry)::text, ',') || ']', '[]')
        FROM (
            SELECT collection_uuid, change, version,
                to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
            FROM page ORDER BY number
        ) AS entry
    ),
    (SELECT change_number FROM last),
    (SELECT collection_uuid::text FROM last),
    EXISTS (SELECT FROM following WHERE number > %(limit)s),
    (extract(epoch FROM now()) * 1000000)::bigint,
    coalesce((SELECT change_number FROM users WHERE user_id = %(user_id)s), %(after_number)s) >= %(after_number)s;

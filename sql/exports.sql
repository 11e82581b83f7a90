-- name: list_page
-- The collections from a position on, newest first, as lines of an export: at most %(limit)s, and of %(max)s bytes in all.
-- Rows (collection_uuid, microseconds, version, line). The line is null in the one with which the next page begins, and
-- in the first if it is too large for a page. A second row is there whenever there is a second collection.
SELECT collection_uuid::text, (extract(epoch FROM created_at) * 1000000)::bigint, version::text,
    CASE WHEN total <= %(max)s AND number <= %(limit)s THEN concat(
        '{"uuid":"', collection_uuid, '","title":', to_json(title), ',"description":', to_json(description),
        ',"created_at":"', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","updated_at":"', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","movies":', movies, '}') END
FROM (
    SELECT *, sum(size) OVER newest_first AS total, row_number() OVER newest_first AS number
    FROM (
        -- at most: a byte of a text is six in JSON
        SELECT *, bytes + 5 * octet_length(description) + 6 * octet_length(title) + 200 AS size
        FROM collections
        WHERE user_id = %(user_id)s AND (created_at, collection_uuid) <= (
            coalesce(timestamptz 'epoch' + %(from_microseconds)s * interval '1 microsecond', 'infinity'),
            coalesce(%(from_uuid)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
        ORDER BY created_at DESC, collection_uuid DESC
        LIMIT %(limit)s + 1
    ) AS sized
    WINDOW newest_first AS (ORDER BY created_at DESC, collection_uuid DESC ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE number = 2 OR total - size <= %(max)s
ORDER BY number;

-- name: part
-- A collection as several lines of an export, of %(max)s bytes each: the first has its description, and all of them the
-- movies that fit. %(first)s is 0 for the first line, else the number (from 1) of its first movie; of another version
-- than %(version)s the first line is given. One row (line, version, first of the next line or null), or none.
WITH held AS MATERIALIZED (
    SELECT *, CASE WHEN version::text = %(version)s THEN %(first)s::integer ELSE 0 END AS first
    FROM collections
    WHERE user_id = %(user_id)s AND collection_uuid = %(collection_uuid)s
), head AS MATERIALIZED (
    SELECT concat(
        '{"uuid":"', collection_uuid, '","title":', to_json(title),
        CASE WHEN first = 0 THEN concat(',"description":', to_json(description)) END,
        ',"created_at":"', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","updated_at":"', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","movies":[') AS text
    FROM held
), sized AS MATERIALIZED (
    SELECT number, movie::text AS movie, sum(octet_length(movie::text) + 1) OVER (ORDER BY number) AS total
    FROM held, json_array_elements(movies) WITH ORDINALITY AS listed (movie, number)
    WHERE number >= first
), room AS MATERIALIZED (
    SELECT %(max)s - octet_length(text) - length(']}') - 1 AS bytes FROM head
)
SELECT concat(head.text, (SELECT string_agg(movie, ',' ORDER BY number) FROM sized WHERE total <= room.bytes), ']}'),
    held.version::text, (SELECT min(number) FROM sized WHERE total > room.bytes)
FROM held, head, room;

-- name: list_page
-- The collections from a position on, newest first, as lines of an export: at most %(limit)s and %(max)s bytes.
-- Rows (collection_uuid, microseconds, version, line). The line is null in the row that the next page begins with, and
-- in the first row if it is too large for a page. If there is a second collection, there is a second row.
SELECT collection_uuid::text, (extract(epoch FROM created_at) * 1000000)::bigint, version::text,
    CASE WHEN total <= %(max)s AND number <= %(limit)s THEN concat(
        '{"uuid":"', collection_uuid, '","title":', to_json(title), ',"description":', to_json(description),
        ',"created_at":"', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","updated_at":"', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","movies":', movies, '}') END
FROM (
    SELECT *, sum(size) OVER newest_first AS total, row_number() OVER newest_first AS number
    FROM (
        -- an upper bound: a byte of text is at most six in JSON
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
-- One line of a collection that takes several lines of %(max)s bytes: the first line has the description, each line the
-- movies that fit. %(first)s is 0 for the first line, else the number (from 1) of its first movie. If the version is no
-- longer %(version)s, it is the first line. One row (line, version, first of the next line or null), or none.
WITH found AS MATERIALIZED (
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
    FROM found
), sized AS MATERIALIZED (
    SELECT number, movie::text AS movie, sum(octet_length(movie::text) + 1) OVER (ORDER BY number) AS total
    FROM found, json_array_elements(movies) WITH ORDINALITY AS listed (movie, number)
    WHERE number >= first
), room AS MATERIALIZED (
    SELECT %(max)s - octet_length(text) - length(']}') - 1 AS bytes FROM head
)
SELECT concat(head.text, (SELECT string_agg(movie, ',' ORDER BY number) FROM sized WHERE total <= room.bytes), ']}'),
    found.version::text, (SELECT min(number) FROM sized WHERE total > room.bytes)
FROM found, head, room;

-- name: list
-- One page of the user's genres as they are kept, most frequent first, ties by name. One row (genres json, how many
-- there are in all).
WITH counted AS MATERIALIZED (
    SELECT genre, name, times FROM user_genres WHERE user_id = %(user_id)s
), page AS (
    SELECT * FROM counted ORDER BY times DESC, genre COLLATE "C" LIMIT %(limit)s OFFSET %(skipped)s
)
SELECT
    (
        SELECT coalesce(json_agg(
            json_build_object('genre', name, 'count', times) ORDER BY times DESC, genre COLLATE "C"), '[]')::text
        FROM page
    ),
    (SELECT count(*) FROM counted);

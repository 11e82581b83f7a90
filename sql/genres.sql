-- name: list_page
-- One page of the user's genres, most frequent first, ties by name. One row (genres json, how many there are in all).
SELECT
    (
        SELECT coalesce('[' || string_agg(row_to_json(entry)::text, ',') || ']', '[]')
        FROM (
            SELECT name AS genre, times AS count FROM user_genres
            WHERE user_id = %(user_id)s AND times > 0
            ORDER BY times DESC, user_genres.genre
            LIMIT %(limit)s OFFSET %(offset)s
        ) AS entry
    ),
    (SELECT count(*) FROM user_genres WHERE user_id = %(user_id)s AND times > 0);

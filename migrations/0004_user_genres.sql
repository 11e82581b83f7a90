-- depends: 0003_collections

CREATE FUNCTION most_frequent(spellings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT key FROM jsonb_each_text(spellings) ORDER BY value::integer DESC, key COLLATE "C" LIMIT 1
$$;

CREATE TABLE user_genres (
    user_id uuid NOT NULL,
    genre text COLLATE "C" NOT NULL,
    times integer NOT NULL,
    spelling text NOT NULL,
    spellings jsonb,
    name text NOT NULL
        GENERATED ALWAYS AS (CASE WHEN spellings IS NULL THEN spelling ELSE most_frequent(spellings) END) STORED,
    PRIMARY KEY (user_id, genre)
);

CREATE INDEX user_genres_most_frequent_first ON user_genres (user_id, times DESC, genre);

COMMENT ON TABLE user_genres IS
    'how often each genre occurs over all movies of all collections of a user, kept by the statements that write
collections; a row with 0 times is deleted by the next write. No foreign key, which would be checked for each new
genre of a large list: users.delete deletes these rows';
COMMENT ON COLUMN user_genres.genre IS 'after NFC and case folding';
COMMENT ON COLUMN user_genres.spellings IS 'how often each spelling occurs; null while `spelling` is the only one';

-- The rows by which `user_genres` changes when movies with the genres `before` are replaced by others.
CREATE FUNCTION genre_changes(before json, after json)
RETURNS TABLE (genre text, times integer, spelling text, spellings jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT genre, sum(times)::integer, min(spelling), CASE WHEN count(*) > 1 THEN jsonb_object_agg(spelling, times) END
    FROM (
        SELECT pair ->> 0 AS genre, pair ->> 1 AS spelling, sum(times)::integer AS times
        FROM (VALUES (before, -1), (after, 1)) AS side (movies, times),
            json_array_elements(movies) AS movie, json_array_elements(movie) AS pair
        GROUP BY 1, 2
        HAVING sum(times) <> 0
    ) AS changed
    GROUP BY genre
$$;

-- Spellings as they occur in two rows of `user_genres` together; null if none does.
CREATE FUNCTION sum_spellings(one user_genres, other user_genres) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_object_agg(key, times) FILTER (WHERE times <> 0)
    FROM (
        SELECT key, sum(value::integer) AS times
        FROM (VALUES (one), (other)) AS side (row),
            jsonb_each_text(coalesce((row).spellings, jsonb_build_object((row).spelling, (row).times)))
        GROUP BY key
    ) AS summed
$$;

-- The spellings of a row of `user_genres` after a change by `genre_changes`; null also if none is left. PostgreSQL
-- inlines this one, so that the usual case calls no function.
CREATE FUNCTION add_spellings(old user_genres, change user_genres) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN old.spellings IS NOT NULL OR change.spellings IS NOT NULL OR old.spelling <> change.spelling
        THEN sum_spellings(old, change) END
$$;

CREATE VIEW miscounted_users AS
SELECT user_id
FROM (
    SELECT user_id, pair ->> 0 AS genre, pair ->> 1 AS spelling, 1 AS times
    FROM collections, json_array_elements(movie_genres) AS movie, json_array_elements(movie) AS pair
    UNION ALL
    SELECT user_id, genre, key, -value::integer
    FROM user_genres, jsonb_each_text(coalesce(spellings, jsonb_build_object(spelling, times)))
    WHERE times > 0
) AS counted_less_stored
GROUP BY user_id, genre, spelling
HAVING sum(times) <> 0
UNION
SELECT user_id FROM user_genres
WHERE times > 0 AND times <> (SELECT sum(value::integer) FROM jsonb_each_text(spellings))
UNION
SELECT user_id FROM collections
WHERE movie_count <> json_array_length(movies) OR movie_count <> json_array_length(movie_genres);

COMMENT ON VIEW miscounted_users IS 'users whose stored counts differ from a count of what they have; always empty';

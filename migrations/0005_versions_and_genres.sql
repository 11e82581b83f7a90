-- depends: 0003_collections

ALTER TABLE collections ADD COLUMN version uuid NOT NULL DEFAULT gen_random_uuid();

COMMENT ON COLUMN collections.version IS
    'a new one with every change; at random, so that a database restored from a backup gives none a second time';

CREATE INDEX collection_movies_by_movie ON collection_movies (user_id, movie_uuid);

CREATE VIEW user_genres AS
SELECT user_id, genre, sum(times)::bigint AS times, (array_agg(name ORDER BY times DESC, name COLLATE "C"))[1] AS name
FROM (
    SELECT user_id, lower(name) AS genre, name, count(*) AS times
    FROM collection_movies,
        LATERAL string_to_table(genres, ',') AS part,
        LATERAL btrim(part, E' \t\n\u000b\f\r\u001c\u001d\u001e\u001f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004'
            '\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000') AS name
    WHERE name <> ''
    GROUP BY user_id, name
) AS spelling
GROUP BY user_id, genre;

COMMENT ON VIEW user_genres IS
    'how often a genre occurs over all movies of all collections of a user, and its most frequent spelling';

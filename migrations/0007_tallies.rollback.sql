CREATE OR REPLACE VIEW user_genres AS
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


DROP TRIGGER tally_deleted ON users;
DROP TRIGGER tally_inserted ON collection_movies;
DROP TRIGGER tally_deleted ON collection_movies;
DROP TRIGGER tally_updated ON collection_movies;
DROP TRIGGER tally_truncated ON collection_movies;
DROP FUNCTION tally_users, tally, tally_movies, tally_changed_movies, tally_anew,
    mend_tallies;
DROP VIEW miscounted_users, kept_tallies, counted_tallies;
DROP TABLE user_tallies, collection_tallies;
DROP FUNCTION spellings_of, spellings_after, favourites_of, genres_of, genre_name;

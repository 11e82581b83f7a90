-- depends: 0003_collections 0005_versions_and_genres

-- What is written waits until all is counted; what is read does not.
LOCK TABLE users, collections, collection_movies IN SHARE ROW EXCLUSIVE MODE;

CREATE FUNCTION genre_name(part text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT btrim(part, E' \t\n\u000b\f\r\u001c\u001d\u001e\u001f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004'
        '\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000')
$$;

CREATE FUNCTION genres_of(spellings jsonb) RETURNS TABLE (genre text, times bigint, name text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(spelling), sum(written::bigint)::bigint,
        (array_agg(spelling ORDER BY written::bigint DESC, spelling COLLATE "C"))[1]
    FROM jsonb_each(spellings) AS each (spelling, written)
    GROUP BY lower(spelling)
$$;

CREATE FUNCTION favourites_of(spellings jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
BEGIN
    RETURN array_to_string(ARRAY(
        SELECT name FROM genres_of(spellings) ORDER BY times DESC, genre COLLATE "C" LIMIT 3), ',');
END
$$;

CREATE FUNCTION spellings_after(spellings jsonb, texts text[], changes bigint[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    kept CONSTANT jsonb := spellings || '{}'; -- out of its TOAST once, not for every name
BEGIN
    RETURN (
        SELECT jsonb_strip_nulls(kept || coalesce(jsonb_object_agg(name, nullif(times, 0)), '{}'))
        FROM (
            SELECT name, coalesce((kept -> name)::bigint, 0) + sum(change) AS times
            FROM (
                SELECT genre_name(part) AS name, sum(change) AS change
                FROM unnest(texts, changes) AS written (genres, change), string_to_table(genres, ',') AS part
                GROUP BY part
            ) AS named
            WHERE name <> ''
            GROUP BY name
        ) AS counted);
END
$$;

CREATE TABLE user_tallies (
    user_id uuid NOT NULL,
    collections bigint NOT NULL DEFAULT 0,
    spellings jsonb NOT NULL DEFAULT '{}',
    favourite_genres text NOT NULL GENERATED ALWAYS AS (favourites_of(spellings)) STORED,
    PRIMARY KEY (user_id)
) WITH (fillfactor = 50);

COMMENT ON TABLE user_tallies IS
    'what a user holds, kept by triggers. No foreign key: its cascade could take the row before the collections, while a
writer who has a collection waits for the row';
COMMENT ON COLUMN user_tallies.spellings IS 'each genre as it is written, and how often over all movies of the user';

CREATE TABLE collection_tallies (
    user_id uuid NOT NULL,
    collection_uuid uuid NOT NULL,
    movies integer NOT NULL,
    PRIMARY KEY (user_id, collection_uuid),
    FOREIGN KEY (user_id, collection_uuid) REFERENCES collections ON DELETE CASCADE ON UPDATE CASCADE
) WITH (fillfactor = 80);

COMMENT ON TABLE collection_tallies IS
    'how many movies a collection holds, kept by triggers; none where it never held one. Not a column of collections: a
second update of a row in one transaction checks its foreign key anew, and would wait for a user who is being deleted';

CREATE VIEW counted_tallies AS
SELECT user_id,
    (SELECT count(*) FROM collections WHERE collections.user_id = users.user_id) AS collections,
    (
        SELECT coalesce(jsonb_object_agg(name, times), '{}')
        FROM (
            SELECT name, count(*) AS times
            FROM collection_movies, LATERAL string_to_table(genres, ',') AS part, LATERAL genre_name(part) AS name
            WHERE collection_movies.user_id = users.user_id AND name <> ''
            GROUP BY name
        ) AS spelling
    ) AS spellings
FROM users;

CREATE VIEW miscounted_users AS
SELECT user_id
FROM counted_tallies AS counted FULL JOIN user_tallies AS kept USING (user_id)
WHERE (counted.collections, counted.spellings) IS DISTINCT FROM (kept.collections, kept.spellings)
UNION
SELECT user_id
FROM collection_tallies AS kept FULL JOIN (
    SELECT user_id, collection_uuid, count(*) AS movies FROM collection_movies GROUP BY user_id, collection_uuid
) AS counted USING (user_id, collection_uuid)
WHERE coalesce(kept.movies, 0) <> coalesce(counted.movies, 0);

COMMENT ON VIEW miscounted_users IS 'whose kept counts are not what counting gives; mend_tallies() mends them';

CREATE FUNCTION mend_tallies() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE users, collections, collection_movies IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM collection_tallies;
    INSERT INTO collection_tallies (user_id, collection_uuid, movies)
    SELECT user_id, collection_uuid, count(*) FROM collection_movies GROUP BY user_id, collection_uuid;
    DELETE FROM user_tallies WHERE user_id NOT IN (SELECT user_id FROM users);
    INSERT INTO user_tallies AS kept (user_id, collections, spellings)
    SELECT user_id, collections, spellings FROM counted_tallies
    ON CONFLICT (user_id) DO UPDATE SET collections = excluded.collections, spellings = excluded.spellings
    WHERE (kept.collections, kept.spellings) <> (excluded.collections, excluded.spellings);
END
$$;

CREATE FUNCTION tally_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO user_tallies (user_id) SELECT user_id FROM changed;
    ELSE
        DELETE FROM user_tallies USING changed WHERE user_tallies.user_id = changed.user_id;
    END IF;
    RETURN NULL;
END
$$;

-- Plans are made once in a connection, for tables of any size: not anew for the numbers at hand, nor for a table that was
-- small then.
CREATE FUNCTION tally_collections() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT user_id, count(*) * TG_ARGV[0]::integer AS collections FROM changed GROUP BY user_id ORDER BY user_id
    LOOP
        UPDATE user_tallies SET collections = collections + change.collections WHERE user_id = change.user_id;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE FUNCTION tally_given_collection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE user_tallies SET collections = collections + CASE user_id WHEN NEW.user_id THEN 1 ELSE -1 END
    WHERE user_id IN (OLD.user_id, NEW.user_id);
    RETURN NULL;
END
$$;

CREATE FUNCTION tally_movies() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    change record;
BEGIN
    -- nothing is changed, or the user is being deleted: that cascades to one collection at a time
    IF NOT EXISTS (SELECT FROM users WHERE user_id = (SELECT user_id FROM changed LIMIT 1)) THEN
        RETURN NULL;
    END IF;
    FOR change IN
        SELECT user_id, collection_uuid, count(*) * TG_ARGV[0]::integer AS movies
        FROM changed
        GROUP BY user_id, collection_uuid
        ORDER BY user_id, collection_uuid
    LOOP
        INSERT INTO collection_tallies AS kept (user_id, collection_uuid, movies)
        SELECT user_id, collection_uuid, change.movies
        FROM collections
        WHERE user_id = change.user_id AND collection_uuid = change.collection_uuid
        ON CONFLICT (user_id, collection_uuid) DO UPDATE SET movies = kept.movies + excluded.movies;
    END LOOP;
    FOR change IN
        SELECT user_id, array_agg(genres) AS texts, array_agg(times) AS times
        FROM (
            SELECT user_id, genres, count(*) * TG_ARGV[0]::integer AS times FROM changed GROUP BY user_id, genres
        ) AS written
        GROUP BY user_id
        ORDER BY user_id
    LOOP
        UPDATE user_tallies SET spellings = spellings_after(spellings, change.texts, change.times)
        WHERE user_id = change.user_id;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE FUNCTION tally_changed_movies() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT user_id, collection_uuid, sum(times) AS movies
        FROM (
            SELECT user_id, collection_uuid, 1 AS times FROM after_it
            UNION ALL SELECT user_id, collection_uuid, -1 FROM before_it
        ) AS moved
        GROUP BY user_id, collection_uuid
        HAVING sum(times) <> 0
        ORDER BY user_id, collection_uuid
    LOOP
        INSERT INTO collection_tallies AS kept (user_id, collection_uuid, movies)
        SELECT user_id, collection_uuid, change.movies
        FROM collections
        WHERE user_id = change.user_id AND collection_uuid = change.collection_uuid
        ON CONFLICT (user_id, collection_uuid) DO UPDATE SET movies = kept.movies + excluded.movies;
    END LOOP;
    FOR change IN
        SELECT user_id, array_agg(genres) AS texts, array_agg(times) AS times
        FROM (
            SELECT user_id, genres, sum(times) AS times
            FROM (
                SELECT user_id, genres, 1 AS times FROM after_it
                UNION ALL SELECT user_id, genres, -1 FROM before_it
            ) AS rewritten
            GROUP BY user_id, genres
            HAVING sum(times) <> 0
        ) AS written
        GROUP BY user_id
        ORDER BY user_id
    LOOP
        UPDATE user_tallies SET spellings = spellings_after(spellings, change.texts, change.times)
        WHERE user_id = change.user_id;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE FUNCTION tally_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mend_tallies();
    RETURN NULL;
END
$$;

DO 'BEGIN PERFORM mend_tallies(); END';

CREATE TRIGGER tally_inserted AFTER INSERT ON users
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tally_users();
CREATE TRIGGER tally_deleted AFTER DELETE ON users
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tally_users();

CREATE TRIGGER tally_inserted AFTER INSERT ON collections
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tally_collections('1');
CREATE TRIGGER tally_deleted AFTER DELETE ON collections
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tally_collections('-1');
CREATE TRIGGER tally_given AFTER UPDATE OF user_id ON collections
FOR EACH ROW WHEN (OLD.user_id <> NEW.user_id) EXECUTE FUNCTION tally_given_collection();
CREATE TRIGGER tally_truncated AFTER TRUNCATE ON collections
FOR EACH STATEMENT EXECUTE FUNCTION tally_anew();

CREATE TRIGGER tally_inserted AFTER INSERT ON collection_movies
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tally_movies('1');
CREATE TRIGGER tally_deleted AFTER DELETE ON collection_movies
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tally_movies('-1');
CREATE TRIGGER tally_updated AFTER UPDATE ON collection_movies
REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
FOR EACH STATEMENT EXECUTE FUNCTION tally_changed_movies();
CREATE TRIGGER tally_truncated AFTER TRUNCATE ON collection_movies
FOR EACH STATEMENT EXECUTE FUNCTION tally_anew();

CREATE OR REPLACE VIEW user_genres AS
SELECT user_id, genre, times, name FROM user_tallies, LATERAL genres_of(spellings);

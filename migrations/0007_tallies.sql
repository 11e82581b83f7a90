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

-- Written out again, since a generated column may be made while no schema but PostgreSQL's own is looked at.
CREATE FUNCTION favourites_of(spellings jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN array_to_string(ARRAY(
        SELECT (array_agg(spelling ORDER BY written::bigint DESC, spelling COLLATE "C"))[1]
        FROM jsonb_each(spellings) AS each (spelling, written)
        GROUP BY lower(spelling)
        ORDER BY sum(written::bigint) DESC, lower(spelling) COLLATE "C"
        LIMIT 3), ',');
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

CREATE FUNCTION spellings_of(parts jsonb[]) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(name, times), '{}')
    FROM (
        SELECT name, sum(written::bigint) AS times
        FROM unnest(parts) AS part, jsonb_each(part) AS each (name, written)
        GROUP BY name
        HAVING sum(written::bigint) <> 0
    ) AS summed
$$;

CREATE TABLE user_tallies (
    user_id uuid NOT NULL,
    part uuid NOT NULL DEFAULT gen_random_uuid(),
    spellings jsonb NOT NULL,
    favourite_genres text NOT NULL GENERATED ALWAYS AS (favourites_of(spellings)) STORED,
    PRIMARY KEY (user_id, part)
) WITH (fillfactor = 50);

COMMENT ON TABLE user_tallies IS
    'the genres of a user, kept by triggers, as the sum of parts: two who write at once do not wait for each other, and
the next one who writes makes one part of all. No foreign key: its cascade could take a part before the collections,
while a writer who has a collection waits for it';
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

CREATE VIEW kept_tallies AS
SELECT user_id, CASE count(*) WHEN 1 THEN (array_agg(spellings))[1] ELSE spellings_of(array_agg(spellings)) END
    AS spellings
FROM user_tallies
GROUP BY user_id;

CREATE VIEW miscounted_users AS
SELECT user_id
FROM counted_tallies AS counted FULL JOIN kept_tallies AS kept USING (user_id)
WHERE coalesce(counted.spellings, '{}') <> coalesce(kept.spellings, '{}')
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
    DELETE FROM user_tallies;
    INSERT INTO user_tallies (user_id, spellings)
    SELECT user_id, spellings FROM counted_tallies WHERE spellings <> '{}';
END
$$;

CREATE FUNCTION tally_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM user_tallies USING changed WHERE user_tallies.user_id = changed.user_id;
    RETURN NULL;
END
$$;

CREATE FUNCTION tally(owner uuid, texts text[], times bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    free CONSTANT uuid[] := ARRAY(
        SELECT part FROM user_tallies WHERE user_id = owner ORDER BY part FOR UPDATE SKIP LOCKED);
BEGIN
    IF free = '{}' THEN
        INSERT INTO user_tallies (user_id, spellings) VALUES (owner, spellings_after('{}', texts, times));
    ELSIF cardinality(free) = 1 THEN
        UPDATE user_tallies SET spellings = spellings_after(spellings, texts, times)
        WHERE user_id = owner AND part = free[1];
    ELSE
        WITH others AS (
            DELETE FROM user_tallies WHERE user_id = owner AND part = ANY(free[2:]) RETURNING spellings
        )
        UPDATE user_tallies
        SET spellings = spellings_after(
            spellings_of(spellings || ARRAY(SELECT others.spellings FROM others)), texts, times)
        WHERE user_id = owner AND part = free[1];
    END IF;
END
$$;

-- Of a collection or a user that is being deleted nothing is kept: the cascade comes here with one collection at a time.
CREATE FUNCTION tally_movies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO collection_tallies AS kept (user_id, collection_uuid, movies)
    SELECT user_id, collection_uuid, movies
    FROM (
        SELECT user_id, collection_uuid, count(*) * TG_ARGV[0]::integer AS movies
        FROM changed
        GROUP BY user_id, collection_uuid
    ) AS written JOIN collections USING (user_id, collection_uuid)
    ORDER BY user_id, collection_uuid
    ON CONFLICT (user_id, collection_uuid) DO UPDATE SET movies = kept.movies + excluded.movies;
    PERFORM tally(user_id, array_agg(genres), array_agg(times))
    FROM (
        SELECT user_id, genres, count(*) * TG_ARGV[0]::integer AS times FROM changed GROUP BY user_id, genres
    ) AS written JOIN users USING (user_id)
    GROUP BY user_id;
    RETURN NULL;
END
$$;

CREATE FUNCTION tally_changed_movies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO collection_tallies AS kept (user_id, collection_uuid, movies)
    SELECT user_id, collection_uuid, movies
    FROM (
        SELECT user_id, collection_uuid, sum(times) AS movies
        FROM (
            SELECT user_id, collection_uuid, 1 AS times FROM after_it
            UNION ALL SELECT user_id, collection_uuid, -1 FROM before_it
        ) AS moved
        GROUP BY user_id, collection_uuid
        HAVING sum(times) <> 0
    ) AS written JOIN collections USING (user_id, collection_uuid)
    ORDER BY user_id, collection_uuid
    ON CONFLICT (user_id, collection_uuid) DO UPDATE SET movies = kept.movies + excluded.movies;
    PERFORM tally(user_id, array_agg(genres), array_agg(times))
    FROM (
        SELECT user_id, genres, sum(times)::bigint AS times
        FROM (
            SELECT user_id, genres, 1 AS times FROM after_it
            UNION ALL SELECT user_id, genres, -1 FROM before_it
        ) AS rewritten
        GROUP BY user_id, genres
        HAVING sum(times) <> 0
    ) AS written
    GROUP BY user_id;
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

CREATE TRIGGER tally_deleted AFTER DELETE ON users
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tally_users();

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
SELECT user_id, genre, times, name FROM kept_tallies, LATERAL genres_of(spellings);

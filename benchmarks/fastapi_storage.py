"""Two schemas of the FastAPI service, each as fast as possible, with their statements for asyncpg.

Both keep a user's number of collections and genres in the user's row, in the statement that writes. `rows` has a row
for each movie; `whole` has the movies of a collection as the JSON that is sent, and their uuids.
"""
from __future__ import annotations

from typing import NamedTuple

USERS = """
CREATE TABLE users (
    user_id uuid PRIMARY KEY DEFAULT uuidv7(),
    username text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    collection_count integer NOT NULL DEFAULT 0,
    genres jsonb NOT NULL DEFAULT '{}',
    favourite_genres text NOT NULL DEFAULT ''
) WITH (fillfactor = 70);
CREATE TABLE sessions (
    session_uuid uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    refresh_digest bytea NOT NULL
);
CREATE INDEX ON sessions (user_id);
CREATE TABLE collections (
    collection_uuid uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    title text NOT NULL,
    description text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    movie_count integer NOT NULL
);
CREATE INDEX ON collections (user_id, created_at, collection_uuid);
"""
MOVIE_ROWS = """
CREATE TABLE collection_movies (
    collection_uuid uuid NOT NULL REFERENCES collections ON DELETE CASCADE,
    movie_uuid uuid NOT NULL,
    position integer NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    genres text NOT NULL,
    PRIMARY KEY (collection_uuid, movie_uuid)
);
"""
# Values that fit on a page stay in the row, uncompressed, because they are read far more often than written.
MOVIES_WHOLE = """
ALTER TABLE collections ADD movies json NOT NULL, ADD movie_uuids uuid[] NOT NULL;
ALTER TABLE collections ALTER movies SET STORAGE EXTERNAL, SET (toast_tuple_target = 8160);
"""

# a user's row after a write: $1 is the user, {genres} a JSON object with how often each genre occurs
COUNTED = """
    UPDATE users
    SET collection_count = collection_count + {collections}, (genres, favourite_genres) = (
        WITH spelling AS (
            SELECT name, sum(times) AS times
            FROM (
                SELECT key AS name, value::integer AS times FROM jsonb_each_text(users.genres)
                UNION ALL SELECT key, value::integer FROM json_each_text({genres})
            ) AS both_of_them
            GROUP BY name
        ), genre AS (
            SELECT (array_agg(name ORDER BY times DESC, name))[1] AS name, sum(times) AS times
            FROM spelling GROUP BY casefold(name COLLATE pg_unicode_fast)
            ORDER BY 2 DESC, 1 LIMIT 3
        )
        SELECT coalesce(jsonb_object_agg(name, times), '{{}}'),
            (SELECT coalesce(string_agg(name, ',' ORDER BY times DESC, name), '') FROM genre)
        FROM spelling)
    WHERE user_id = $1{condition}
    RETURNING user_id
"""
SHOWN = """page.collection_uuid AS uuid, page.title, page.description,
            to_char(page.created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
            to_char(page.updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at, false AS shared"""
# $1 the user, $2 the limit, $3 and $4 the last collection of the page before; the last of this one where it is full
LIST = f"""
SELECT coalesce(shown.collections, '[]'), favourite_genres, collection_count, last_at, last_uuid
FROM users, LATERAL (
    SELECT json_agg(collection) AS collections,
        (array_agg(page.created_at))[$2] AS last_at, (array_agg(page.collection_uuid))[$2] AS last_uuid
    FROM (
        SELECT * FROM collections
        WHERE user_id = $1 AND (created_at, collection_uuid) < (
            coalesce($3::timestamptz, 'infinity'), coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
        ORDER BY created_at DESC, collection_uuid DESC LIMIT $2
    ) AS page, LATERAL (
        SELECT {SHOWN}, page.movie_count{{movies}}
    ) AS collection
) AS shown
WHERE user_id = $1
"""
READ = f"""
SELECT row_to_json(collection)
FROM collections AS page, LATERAL (SELECT {SHOWN}{{movies}}) AS collection
WHERE user_id = $1 AND collection_uuid = $2
"""
FROM_ROWS = """, (
            SELECT coalesce(json_agg(movie), '[]')
            FROM (
                SELECT movie_uuid AS uuid, title, description, genres
                FROM collection_movies WHERE collection_uuid = page.collection_uuid ORDER BY position
            ) AS movie
        ) AS movies"""


class Storage(NamedTuple):
    """A schema and its statements. `create` and `add` take what `fastapi_service.py` gives them: see there."""

    schema: str
    list_brief: str
    list_movies: str
    read: str
    create: str
    add: str


ROWS = Storage(
    USERS + MOVIE_ROWS, LIST.format(movies=""), LIST.format(movies=FROM_ROWS), READ.format(movies=FROM_ROWS),
    create=f"""
WITH owner AS ({COUNTED.format(collections=1, genres="$4", condition="")}), created AS (
    INSERT INTO collections (user_id, title, description, movie_count)
    SELECT user_id, $2, $3, cardinality($5::uuid[]) FROM owner
    RETURNING collection_uuid
), filled AS (
    INSERT INTO collection_movies (collection_uuid, movie_uuid, position, title, description, genres)
    SELECT collection_uuid, movie.*
    FROM created, ROWS FROM (
        unnest($5), generate_series(1, cardinality($5)), unnest($6::text[]), unnest($7::text[]), unnest($8::text[])
    ) AS movie
)
SELECT collection_uuid FROM created""",
    add=f"""
WITH target AS MATERIALIZED (
    SELECT movie_count FROM collections WHERE user_id = $1 AND collection_uuid = $2 FOR UPDATE
), added AS (
    INSERT INTO collection_movies (collection_uuid, movie_uuid, position, title, description, genres)
    SELECT $2, $4, movie_count + 1, $5, $6, $7 FROM target WHERE movie_count < 10000
    ON CONFLICT DO NOTHING
    RETURNING 1
), changed AS (
    UPDATE collections SET movie_count = movie_count + 1, updated_at = clock_timestamp()
    WHERE collection_uuid = $2 AND EXISTS (SELECT FROM added)
), counted AS ({COUNTED.format(collections=0, genres="$3", condition=" AND EXISTS (SELECT FROM added)")})
SELECT EXISTS (SELECT FROM added) FROM target""")

WHOLE = Storage(
    USERS + MOVIES_WHOLE, LIST.format(movies=""), LIST.format(movies=", page.movies"),
    READ.format(movies=", page.movies"),
    create=f"""
WITH owner AS ({COUNTED.format(collections=1, genres="$4", condition="")})
INSERT INTO collections (user_id, title, description, movie_count, movies, movie_uuids)
SELECT user_id, $2, $3, cardinality($5::uuid[]), $6, $5 FROM owner
RETURNING collection_uuid""",
    add=f"""
WITH target AS MATERIALIZED (
    SELECT $4 <> ALL(movie_uuids) AND movie_count < 10000 AS fresh
    FROM collections WHERE user_id = $1 AND collection_uuid = $2 FOR UPDATE
), changed AS (
    UPDATE collections
    SET movies = CASE movie_count WHEN 0 THEN concat('[', $5::text, ']')
            ELSE concat(left(movies::text, -1), ',', $5::text, ']') END::json,
        movie_uuids = movie_uuids || $4, movie_count = movie_count + 1, updated_at = clock_timestamp()
    WHERE user_id = $1 AND collection_uuid = $2 AND (SELECT fresh FROM target)
), counted AS ({COUNTED.format(collections=0, genres="$3", condition=" AND (SELECT fresh FROM target)")})
SELECT fresh FROM target""")
STORAGES = {"rows": ROWS, "whole": WHOLE}

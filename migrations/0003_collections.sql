-- depends: 0001_users

CREATE TABLE collections (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    collection_uuid uuid NOT NULL DEFAULT gen_random_uuid(),
    version uuid NOT NULL DEFAULT gen_random_uuid(),
    title text NOT NULL,
    description text NOT NULL,
    movies json NOT NULL,
    movie_uuids uuid[] NOT NULL,
    movie_genres json NOT NULL,
    movie_count integer NOT NULL GENERATED ALWAYS AS (cardinality(movie_uuids)) STORED,
    bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(description) + octet_length(movies::text)) STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, collection_uuid)
) WITH (toast_tuple_target = 8160);

-- Compressing the movies takes as long as all the rest of a write, and each list call decompresses them.
ALTER TABLE collections ALTER movies SET STORAGE EXTERNAL;

CREATE INDEX collections_newest_first ON collections (user_id, created_at DESC, collection_uuid DESC);

CREATE FUNCTION json_append(list json, elements text) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN elements IS NULL THEN list
        WHEN list::text = '[]' THEN ('[' || elements || ']')::json
        ELSE (left(list::text, -1) || ',' || elements || ']')::json END
$$;

COMMENT ON FUNCTION json_append IS 'the elements, separated by commas, at the end of a list that keeps its bytes';
COMMENT ON COLUMN collections.version IS
    'a new random one with every change, so that a database restored from a backup repeats none';
COMMENT ON COLUMN collections.movies IS 'the movies in their order, byte for byte as responses carry them';
COMMENT ON COLUMN collections.movie_uuids IS 'the uuid of each movie, in the same order';
COMMENT ON COLUMN collections.movie_genres IS
    'for each movie, in the same order, [genre, spelling] of each of its genres: what user_genres counts';

-- depends: 0001_users

CREATE TABLE collections (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    collection_uuid uuid NOT NULL DEFAULT gen_random_uuid(),
    title text NOT NULL,
    description text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, collection_uuid)
);

CREATE INDEX collections_newest_first ON collections (user_id, created_at DESC, collection_uuid DESC);

CREATE TABLE collection_movies (
    user_id uuid NOT NULL,
    collection_uuid uuid NOT NULL,
    movie_uuid uuid NOT NULL,
    position integer NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    genres text NOT NULL,
    PRIMARY KEY (user_id, collection_uuid, movie_uuid),
    FOREIGN KEY (user_id, collection_uuid) REFERENCES collections ON DELETE CASCADE
);

COMMENT ON TABLE collection_movies IS
    'what one user stores about a movie in one collection; nothing here is shared between users';

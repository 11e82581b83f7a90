"""Redis: the client, and the request counter on it."""

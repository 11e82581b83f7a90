"""Redis: addresses, the client, the request counter, and the announcement of changes."""

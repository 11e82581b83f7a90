"""Redis: addresses, the client, and the request counter."""

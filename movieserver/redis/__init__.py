"""Redis: its addresses, the client, and the request counter."""

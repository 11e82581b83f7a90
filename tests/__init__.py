"""The tests: HTTP against the real server, real PostgreSQL, real Redis."""

"""A Movie Collection Management API on Tornado, PostgreSQL and Redis."""

"""A Movie Collection Management API on Tornado, PostgreSQL and Redis."""

__version__ = "1.0.0"

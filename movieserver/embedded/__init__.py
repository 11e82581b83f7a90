"""Embedded PostgreSQL, Redis and demo catalogue for a machine that has none; their data is under DATA_DIR."""

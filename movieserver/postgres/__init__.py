"""PostgreSQL: named statements, connections, the pool, migrations."""

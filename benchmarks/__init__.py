"""How fast the server is, next to what it could be at best: python -m benchmarks (`make bench`)."""

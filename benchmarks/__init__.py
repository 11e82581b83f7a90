"""How fast the server is, compared with bare Tornado and FastAPI: python -m benchmarks (`make bench`)."""

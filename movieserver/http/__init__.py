"""HTTP semantics: headers, preconditions, idempotency keys, compression, CORS, proxies."""

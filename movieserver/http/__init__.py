"""What HTTP headers mean: preconditions, idempotency keys, compression, proxies."""

"""The third party's movie API: calls, providers, and the cached movie list."""

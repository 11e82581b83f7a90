"""The RequestHandlers: a file a resource, its routes at the end."""

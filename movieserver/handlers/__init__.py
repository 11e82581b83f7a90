"""The request handlers: one file per resource, with its routes at the end."""

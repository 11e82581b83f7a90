"""/openapi.json: what a verb declares, and the document made of it."""

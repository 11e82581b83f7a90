"""The description of the API: what a verb declares, and the document made of it."""

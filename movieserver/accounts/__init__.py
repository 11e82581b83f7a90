"""Tokens, passwords, user names, and the limits on login attempts and registrations."""

"""Logs, metrics, and the check of what the server depends on."""

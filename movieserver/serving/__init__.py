"""Connections, requests and processes: everything between a socket and a handler."""

"""Identities, passwords, logins, tokens, policies and certificates."""

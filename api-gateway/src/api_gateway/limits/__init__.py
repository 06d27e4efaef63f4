"""Limits and quotas of keys and owners (docs/security.md)."""

"""Deliveries after the live path: transcripts to the archive, webhooks, callbacks."""

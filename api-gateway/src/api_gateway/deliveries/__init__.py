"""What is sent after the fact: transcripts to the archive, webhooks, callbacks."""

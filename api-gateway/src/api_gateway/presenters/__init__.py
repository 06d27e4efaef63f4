"""The forms in which clients receive sessions, jobs and errors."""

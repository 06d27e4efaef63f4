"""The gateway: HTTP routes and live protocols. It keeps no session state of its own; that is in Redis."""

"""The HTTP server below the routes: connection limits, request limits and header parsing."""

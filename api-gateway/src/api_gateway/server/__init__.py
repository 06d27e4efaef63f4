"""What happens to connections, requests and headers before a route sees them."""

"""A whole cluster on one machine: an embedded Redis and a supervisor for the services."""

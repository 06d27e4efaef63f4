"""All access to Redis: keys, scripts, queues, sessions, jobs, deliveries."""

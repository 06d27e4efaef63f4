"""Everything that is kept in Redis: keys, scripts, queues, sessions, jobs, deliveries."""

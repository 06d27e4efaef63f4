"""What the tests stand on: a real Redis, real processes, a perfect recogniser, real speech."""

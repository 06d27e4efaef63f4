"""Helpers of the tests: a real Redis, real processes, an engine without mistakes, real speech."""

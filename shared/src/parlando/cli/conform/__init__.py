"""`parlando conform`: check that a host speaks a dialect as its clients need it."""

"""Access to the engine: windows, scheduling, capacity."""

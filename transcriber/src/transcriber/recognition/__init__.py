"""Access to the engine: windows, scheduling and capacity."""

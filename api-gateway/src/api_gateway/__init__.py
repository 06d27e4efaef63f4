"""The front doors: client dialects in, events out. Holds no state that matters."""

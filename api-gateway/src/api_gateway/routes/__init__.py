"""One file per family of routes: parse, call, answer."""

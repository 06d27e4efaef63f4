"""The command `parlando`."""

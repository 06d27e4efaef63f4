"""Speech recognition engines: their interface (`base`), and the table to select one from (`registry`)."""

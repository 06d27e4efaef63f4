"""Where model weights come from and where they lie."""

"""Model weights: where they are downloaded from and stored."""

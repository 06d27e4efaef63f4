"""Who speaks: voice embeddings of short windows, clustered into speakers."""

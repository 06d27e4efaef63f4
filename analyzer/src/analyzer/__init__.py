"""Analysis of transcripts: of recordings in tasks, and of live sessions as they go."""

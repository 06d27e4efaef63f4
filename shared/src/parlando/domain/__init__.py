"""Data types shared by all services: audio, formats, events, transcripts. No I/O."""

"""What every service speaks of: audio, formats, events, transcripts. No I/O."""

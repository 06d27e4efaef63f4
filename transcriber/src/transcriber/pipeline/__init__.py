"""Live sessions: from audio to segments to final transcripts."""

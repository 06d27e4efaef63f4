"""The transcriber: turns the audio of sessions and jobs into transcripts."""

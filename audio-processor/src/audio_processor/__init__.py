"""The FFmpeg service: any container, codec or rate to 16 kHz mono PCM."""

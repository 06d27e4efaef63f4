"""The FFmpeg service: decodes any container, codec and rate to 16 kHz mono PCM."""

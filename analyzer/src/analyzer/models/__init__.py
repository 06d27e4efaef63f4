"""The models of the analysis; each runs on the CPU, without torch."""

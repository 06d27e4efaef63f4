"""Stages: what is added to a segment after the engine, such as speakers and translations."""

"""Stages: processing of segments after the engine, such as speakers and translations."""

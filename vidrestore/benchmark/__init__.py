"""Measuring speed and memory: of a run, stage by stage, and of the restoring network alone."""

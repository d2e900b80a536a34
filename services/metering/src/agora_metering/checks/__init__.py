"""Checks: every total recomputed from the stored events."""

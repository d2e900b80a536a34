"""Killing and cutting parts under load, then counting what came of it."""

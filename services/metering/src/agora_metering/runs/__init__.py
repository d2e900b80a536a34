"""Ended runs: their usage is closed when it is complete, and an alarm names what is missing."""

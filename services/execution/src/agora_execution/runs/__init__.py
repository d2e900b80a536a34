"""Runs: admission, the durable workflow, the journal, and every way to end."""

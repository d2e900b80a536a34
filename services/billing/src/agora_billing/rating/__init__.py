"""What usage costs under a charge model: exact lines, the worst case before a run, and why the two differ."""

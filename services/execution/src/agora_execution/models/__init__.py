"""Model calls of agents: each reserves its worst case inside the run's own hold before it is made."""

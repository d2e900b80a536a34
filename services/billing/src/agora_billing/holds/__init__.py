"""Credit set aside before a run, then settled or given back, exactly once."""

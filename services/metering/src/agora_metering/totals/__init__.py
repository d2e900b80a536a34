"""Totals by minute, hour and day: increments that ingest appends, and the roller that moves them."""

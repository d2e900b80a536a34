"""Schedules: rows say what starts when, Temporal's Schedules tell the time, admission starts each run once."""

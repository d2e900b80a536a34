"""Metering: usage events in, deduplicated totals out."""

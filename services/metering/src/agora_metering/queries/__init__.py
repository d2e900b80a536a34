"""Queries: totals over a span of time, filtered and grouped, in any time zone."""

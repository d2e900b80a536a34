"""Meters as data: defined by an API, back-filled from what is stored."""

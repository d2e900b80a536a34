"""Giving back what a run was charged."""

"""Refunds: an operator gives back what a run was charged, with a reason."""

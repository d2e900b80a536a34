"""Reconciliation: recorded, published, stored, totalled, charged: the same everywhere, or named."""

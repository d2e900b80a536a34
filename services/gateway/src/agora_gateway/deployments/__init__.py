"""Rentals."""

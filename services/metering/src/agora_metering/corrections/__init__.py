"""Corrections: a counted event voided or amended by another one; nothing is edited."""

"""Prepaid accounts: credit, what is set aside of it, and what is owed."""

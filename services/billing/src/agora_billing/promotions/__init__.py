"""Promotional credit: grants, what runs spend of them, and their expiry."""

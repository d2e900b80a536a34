"""Listings: package versions with their schemas and prices, published once and found again."""

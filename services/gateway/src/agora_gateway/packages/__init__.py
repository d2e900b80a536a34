"""Listings of the marketplace, their estimates and health."""

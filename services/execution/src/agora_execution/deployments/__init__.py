"""Rentals: a tenant's hold on a package version, its price and its prepared configuration."""

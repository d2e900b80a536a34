"""A service with the kit's tables and one table of its own, for the kit's tests."""

"""Usage: events taken in once each, and summed by hour."""

"""What the months of meters have come to that are priced by the month, or used outside of runs."""

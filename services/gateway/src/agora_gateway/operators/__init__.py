"""What only the operator may do."""

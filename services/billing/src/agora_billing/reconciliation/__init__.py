"""What billing says of its part when usage and money are reconciled."""

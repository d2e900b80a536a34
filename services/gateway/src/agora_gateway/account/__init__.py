"""What a tenant has paid and owes."""

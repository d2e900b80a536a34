"""What runs ask people for: approvals, inputs and budgets, decided once, kept in a trail, safe across every restart."""

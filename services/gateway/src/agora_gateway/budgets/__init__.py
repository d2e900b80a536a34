"""Budgets: what a tenant lets an account, a rental, a package, an API key or a run spend."""

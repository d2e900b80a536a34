"""Budgets: what may be spent by account, rental, package, API key and run, by day, month or in all."""

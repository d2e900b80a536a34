"""Tenants and their API keys: the only things the gateway itself owns."""

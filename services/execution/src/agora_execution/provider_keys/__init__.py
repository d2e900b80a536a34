"""Keys of LLM vendors, the platform's and those that tenants bring: kept encrypted, used, never shown again."""

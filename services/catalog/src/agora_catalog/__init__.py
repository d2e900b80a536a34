"""The catalog: packages, their versions, schemas and prices as offered."""

"""Exports: a tenant's usage as a file, written in the background."""

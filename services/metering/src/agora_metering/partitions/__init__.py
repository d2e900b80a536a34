"""Partitions of what grows: made ahead, and dropped by retention while everything goes on."""

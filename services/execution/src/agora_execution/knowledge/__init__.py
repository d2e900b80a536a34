"""Vectors: one process owns them and answers over NATS."""

"""Fixtures for every test in the repository."""

pytest_plugins = ["agora_local.testing"]

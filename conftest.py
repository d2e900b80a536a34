"""Fixtures and settings for every test in the repository."""

from hypothesis import settings

pytest_plugins = ["agora_local.testing"]

# How long an example takes depends on what else the machine does: no test may fail by it.
settings.register_profile("agora", deadline=None)
settings.load_profile("agora")

"""Execution in the test's process, as its own tests have it."""

from services.execution.tests.conftest import (
    no_vendors,
    service_alone,
    settings,
    settled_temporal,
    workers,
)

__all__ = ["no_vendors", "service_alone", "settings", "settled_temporal", "workers"]

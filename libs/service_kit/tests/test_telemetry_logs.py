"""What may stand in the log."""

import pytest
import structlog
from agora_kit import telemetry


def test_a_logged_error_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A traceback names files and lines, and not the values that were at hand: those may be a customer's.
    """
    before = structlog.get_config()
    telemetry.configure("test", "info")
    try:
        secret = "what a customer sent"
        try:
            raise ValueError(f"cannot store {len(secret)} characters")
        except ValueError:
            structlog.get_logger().exception("it failed")
    finally:
        structlog.configure(**before)

    logged = capsys.readouterr().err
    assert "cannot store 20 characters" in logged
    assert secret not in logged

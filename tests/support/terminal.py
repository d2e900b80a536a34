"""Commands as somebody at a terminal types them, against the platform of the tests."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.tenancy import Customer

_SECONDS_MAX = 120


def environment(customer: Customer | None) -> dict[str, str]:
    """The environment of a shell in which `agora` is installed, with the customer's address and key if any.

    What this process has of its own for Agora is left out: it would hide that something is missing.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGORA_")}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    # Tables are cut to the width of the terminal.
    kept["COLUMNS"] = "200"
    if customer is not None:
        kept |= {"AGORA_URL": customer.api_url, "AGORA_API_KEY": customer.key}
    return kept


def run(
    command: Sequence[str],
    customer: Customer | None,
    folder: Path,
    *,
    stdin: str = "",
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` to its end; `more` are variables of its environment."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(customer) | more,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_SECONDS_MAX,
        check=False,
    )

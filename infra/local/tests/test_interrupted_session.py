"""What a test session leaves when it is ended from outside: nothing."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

SESSION = """
import sys, time

def test_waits(postgres_server, nats_server, temporal_server, parts_folder):
    parts = (postgres_server, nats_server, temporal_server)
    print("PIDS", parts_folder, *(part.process.pid for part in parts), file=sys.__stdout__, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_servers_end_with_the_session(tmp_path: Path, number: signal.Signals) -> None:
    """
    However a session is ended, its servers end; unless it was SIGKILL its folder is gone too.
    """
    (tmp_path / "test_waits.py").write_text(SESSION)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "agora_local.testing", "test_waits.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        line = next(line for line in session.stdout if "PIDS" in line)
        _, folder, *pids = line[line.index("PIDS") :].split()
        servers = [psutil.Process(int(pid)) for pid in pids]
        session.send_signal(number)
        session.stdout.read()

    assert len(servers) == 3
    _, left = psutil.wait_procs(servers, timeout=30)
    assert left == []
    assert number == signal.SIGKILL or not Path(folder).exists()
    # The next session removes it, and may have begun; this one must not wait for that.
    shutil.rmtree(folder, ignore_errors=True)

"""TCP ports of this machine: free ones, and who holds a taken one."""

import errno
import fcntl
import functools
import http.client
import os
import random
import socket
import tempfile
from pathlib import Path

import psutil

# Below the range from which the kernel takes ports of outgoing connections (32768 and up on Linux), so that a
# free port is still free when its server starts.
_LOWEST, _HIGHEST = 20_000, 31_999
_random = random.SystemRandom()
_reserved: set[int] = set()


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are in TIME_WAIT is free for a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports on which nothing listens now, and that no other process was given while this one lives.

    Raises:
        RuntimeError: a thousand tries found too few.
    """
    found: set[int] = set()
    for _ in range(1000):
        port = _random.randint(_LOWEST, _HIGHEST)
        if port not in found and _reserve(port) and is_free(port):
            found.add(port)
        if len(found) == count:
            return list(found)
    raise RuntimeError(f"could not find {count} free ports between {_LOWEST} and {_HIGHEST}")


def free_port() -> int:
    """A port as `free_ports` finds them."""
    return free_ports(1)[0]


def _reserve(port: int) -> bool:
    """Take a port for this process; False where it, or another process that still lives, has taken it before.

    Between looking for a port and listening on it is time enough for a second process to find the same one. A lock on
    a byte of a shared file ends with the process that holds it, however it ends.
    """
    if port in _reserved:
        return False
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    _reserved.add(port)
    return True


@functools.cache
def _reservations() -> int:
    # Open for as long as the process lives: closing any descriptor of the file would end all of its locks.
    path = Path(tempfile.gettempdir()) / f"agora-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def holder(port: int) -> str | None:
    """Name and process id of whoever listens on `port`, where the system tells us."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, PermissionError):
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
            except psutil.Error:
                return f"process {connection.pid}"
    return None


def http_status(port: int, path: str, *, timeout_seconds: float = 2.0) -> int | None:
    """Status of `GET path` on 127.0.0.1:`port`; None when nobody answers in time.

    Goes straight to the port: a proxy in the environment is not for servers of this machine.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()

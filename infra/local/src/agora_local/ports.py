"""TCP ports of this machine: free ones, and who holds a taken one."""

import http.client
import random
import socket

import psutil

# Below the range from which the kernel takes ports of outgoing connections (32768 and up on Linux), so that a
# free port is still free when its server starts.
_LOWEST, _HIGHEST = 20_000, 31_999
_random = random.SystemRandom()


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
    """`count` different ports on which nothing listens now.

    Raises:
        RuntimeError: a thousand tries found too few.
    """
    found: set[int] = set()
    for _ in range(1000):
        port = _random.randint(_LOWEST, _HIGHEST)
        if port not in found and is_free(port):
            found.add(port)
        if len(found) == count:
            return list(found)
    raise RuntimeError(f"could not find {count} free ports between {_LOWEST} and {_HIGHEST}")


def free_port() -> int:
    """A port on which nothing listens now."""
    return free_ports(1)[0]


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

"""Authenticated `GET /packages` through the gateway, against a bare Litestar route: `./dev bench gateway`.

- *ours*: the gateway as `./dev up` runs it: key looked up, scope checked, the catalogue's list.
- *theirs*: one Litestar route that returns the same bytes, with no key, under granian with one worker.

Driven by wrk over 16 connections from a process of its own. A cache serves the list for at most a second; the
key is looked up anew at least every 0.75 s, and how long a revoked key went on working is measured too.
One JSON line last.
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import agora_echo
import httpx
import msgspec
from agora_local.platform import PROCESSES, Platform
from agora_local.ports import free_port
from agora_local.settings import Ports
from agora_local.testing import own_folder

from benchmarks.cpu import cpu_seconds, milliseconds_each
from benchmarks.pairs import interleave
from tests.support.tenancy import Customer, new_customer, operator, publish

CONNECTIONS = 16
NEEDED = ("catalog", "billing", "gateway")
_START_SECONDS = 20.0
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk measured: requests per second, latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float


def find_wrk() -> str:
    """The path of wrk, installed first where that is possible.

    Raises:
        SystemExit: it is not there and cannot be installed from here; the message says how.
    """
    if found := shutil.which("wrk"):
        return found
    if shutil.which("apt-get"):
        print("installing wrk", file=sys.stderr, flush=True)
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "wrk"]):
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if found := shutil.which("wrk"):
            return found
    raise SystemExit("this benchmark needs wrk: install Debian's package wrk, or 'brew install wrk' on macOS")


async def drive(wrk: str, url: str, seconds: int, key: str | None = None) -> Load:
    """Drive one address for some seconds.

    Raises:
        RuntimeError: not every answer was a success, so that the rate would mean nothing.
    """
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-H", f"Authorization: Bearer {key}"] if key else []
    process = await asyncio.create_subprocess_exec(*command, url, stdout=subprocess.PIPE)
    output = (await process.communicate())[0].decode()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if process.returncode or rate is None or "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"wrk on {url} did not go well:\n{output}")
    return Load(
        per_second=float(rate.group(1)), p50_ms=_latency(output, "50%"), p99_ms=_latency(output, "99%")
    )


def _latency(output: str, quantile: str) -> float:
    found = re.search(rf"{re.escape(quantile)}\s+([\d.]+)(us|ms|s)", output)
    if found is None:
        raise RuntimeError(f"wrk told no latency:\n{output}")
    return round(float(found.group(1)) * _UNITS[found.group(2)], 3)


async def seconds_until_refused(customer: Customer, staff: httpx.AsyncClient) -> float:
    """Revoke the customer's key through the operator and see how long it still works."""
    async with customer.client() as client:
        (await client.get("/packages")).raise_for_status()
        key = (await client.get("/api-keys")).json()["items"][0]["id"]
        await staff.delete(f"/operator/tenants/{customer.tenant}/keys/{key}")
        revoked_at = time.monotonic()
        while (await client.get("/packages")).status_code != httpx.codes.UNAUTHORIZED:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return time.monotonic() - revoked_at


async def compare(platform: Platform, folder: Path, wrk: str, pairs: int, seconds: int) -> dict[str, Any]:
    """Measure both sides and say what came of it."""
    path = "/api/v1/packages"
    loads: list[Load] = []
    cpu: list[dict[str, float]] = []
    async with operator(platform) as staff:
        await publish(staff, agora_echo.agent)
        customer = await new_customer(staff, platform.api_url)
        async with customer.client() as client:
            body = (await client.get("/packages")).raise_for_status().content
        (folder / "body.json").write_bytes(body)
        port = free_port()
        bare = await _start_bare(folder / "body.json", port)
        bare_url = f"http://127.0.0.1:{port}{path}"

        async def measure_ours() -> float:
            before = cpu_seconds(platform)
            load = await drive(wrk, platform.api_url + path, seconds, customer.key)
            count = round(load.per_second * seconds)
            cpu.append(milliseconds_each(before, cpu_seconds(platform), count))
            loads.append(load)
            return load.per_second

        async def measure_theirs() -> float:
            return (await drive(wrk, bare_url, seconds)).per_second

        try:
            async with httpx.AsyncClient() as client:
                if (await client.get(bare_url)).content != body:
                    raise RuntimeError("the two sides do not answer the same bytes")
            await drive(wrk, platform.api_url + path, 1, customer.key)
            await drive(wrk, bare_url, 1)
            measured = await interleave(
                measure_ours,
                measure_theirs,
                pairs=pairs,
                say=lambda line: print(line, file=sys.stderr, flush=True),
            )
        finally:
            bare.terminate()
            await bare.wait()
        refused = await seconds_until_refused(customer, staff)
    middle = sorted(loads, key=lambda load: load.per_second)[len(loads) // 2]
    return measured.line(
        "gateway",
        requests_per_second=round(middle.per_second, 1),
        p50_ms=middle.p50_ms,
        p99_ms=middle.p99_ms,
        connections=CONNECTIONS,
        seconds_a_side=seconds,
        body_bytes=len(body),
        cpu_ms_per_request=cpu[len(cpu) // 2],
        revoked_key_refused_after_ms=round(refused * 1000, 1),
    )


async def _start_bare(body: Path, port: int) -> asyncio.subprocess.Process:
    command = ["-m", "granian", "--interface", "asginl", "--workers", "1", "--loop", "uvloop", "--no-ws"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        "--no-log",
        "--port",
        str(port),
        "benchmarks.bare_litestar:app",
        env={"BENCH_BODY": str(body), "PATH": ""},
    )
    async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"http://127.0.0.1:{port}/")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return process


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench gateway", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="how long each side of a pair is driven")
    options = parser.parse_args(arguments)
    wrk = find_wrk()
    processes = [spec for spec in PROCESSES if spec.name in NEEDED]
    with (
        own_folder() as folder,
        Platform(folder / "home", Ports.free(), processes=processes) as platform,
    ):
        platform.wait_ready()
        line = asyncio.run(compare(platform, folder, wrk, options.pairs, options.seconds))
    print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()

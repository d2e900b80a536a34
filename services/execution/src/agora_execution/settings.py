"""Settings of execution's three processes: service, worker, vectors."""

from pathlib import Path

import msgspec
from agora_kit.settings import ServiceSettings

GIGABYTE = 1 << 30
QUEUES = "agora"
"""What the names of the queues begin with that execution's workflows wait in for a worker, unless settings say else."""


class ExecutionSettings(ServiceSettings, frozen=True, kw_only=True):
    """What the service and the worker need beside a database and NATS."""

    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "default"
    task_queues: str = QUEUES
    worker_deployment: str = "agora"
    """What Temporal calls our workers of every version; empty: they have no versions."""
    worker_build: str = ""
    """The version of a worker's code; by default a hash of it."""
    worker_takes_over: bool = True
    """Whether new runs go to a worker's version as soon as it works, if it is newer; else an operator says when."""
    objects_folder: Path
    artifacts_folder: Path
    file_quota_bytes: int = 5 * GIGABYTE
    file_retention_days: int = 30
    memory_retention_days: int = 365
    """How long an agent's memory is kept since it was last written."""
    finding_retention_days: int = 90
    model_call_retention_days: int = 400
    """How long the list of a run's model calls is kept; what they cost stands in the run's usage, which stays."""
    sweep_seconds: float = 2.0
    key_encryption_keys: str = ""
    """What vendors' keys are encrypted under: `name:base64` of 32 bytes each, the current one first; none, no keys."""
    worker_slots: int = 100
    """How many runs of standard packages a worker works on at once; 0: it serves none."""
    worker_heavy_slots: int = 8
    """The same for heavy packages, which have places of their own."""
    worker_turns: int = 16
    """How many steps begin at once, whoever's turn it is: tenants take turns, however many runs each has waiting."""
    worker_turn_seconds: float = 0.1
    """How long a turn lasts at most: a step that takes longer waits for something, and lets others begin."""
    worker_cached_runs: int = 1000
    """Keep it well above the slots: a run that is forgotten in the middle of a short step waits ten seconds."""


class VectorsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the vectors process needs."""

    nats_url: str
    vectors_folder: Path
    log_level: str = "info"

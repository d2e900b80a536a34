"""Finding and reading `agent.toml`."""

import tomllib
from pathlib import Path

import msgspec
from agora_contracts.catalog import AGENTS_COST_METER, MODEL_COST_METER, PER_UNIT_BASES, Manifest

from agora.errors import AgentDefinitionError

FILE_NAME = "agent.toml"
PARENTS_MAX = 3
"""How far above the module the file may lie: `agents/<id>/src/<package>/__init__.py` needs two."""


def find(module_file: str) -> Path:
    """The agent.toml beside a module, or up to three folders above it.

    Raises:
        AgentDefinitionError: there is none.
    """
    folder = Path(module_file).resolve().parent
    for candidate in (folder, *list(folder.parents)[:PARENTS_MAX]):
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
    raise AgentDefinitionError(
        f"No {FILE_NAME} beside {module_file} or up to {PARENTS_MAX} folders above it: every agent has one."
    )


def read(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        AgentDefinitionError: not TOML, a field is missing, unknown or out of range, or two parts of the
            manifest contradict each other. The message names the field.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AgentDefinitionError(f"{path} cannot be read: {error}") from error
    try:
        manifest = msgspec.convert(raw, Manifest)
    except msgspec.ValidationError as error:
        raise AgentDefinitionError(f"{path}: {error}") from error
    for fault in _contradictions(manifest):
        raise AgentDefinitionError(f"{path}: {fault}")
    return manifest


def _contradictions(manifest: Manifest) -> list[str]:
    faults = []
    rated = [(price.basis, price.meter) for price in manifest.prices]
    if len(set(rated)) != len(rated):
        faults.append("[[prices]] names a basis twice for the same meter.")
    for price in manifest.prices:
        if price.basis in PER_UNIT_BASES and price.meter is None:
            faults.append(f"The price by {price.basis} needs `meter`: the usage meter that it rates.")
        if price.meter is not None and price.meter not in manifest.estimate:
            faults.append(f"[estimate.{price.meter}] is missing: a run's cost is quoted before it starts.")
    for meter, estimate in manifest.estimate.items():
        ways = (estimate.fixed, estimate.count_of, estimate.size_of)
        if sum(way is not None for way in ways) != 1:
            faults.append(f"[estimate.{meter}] needs exactly one of `fixed`, `count_of` and `size_of`.")
        for name, pointer in (("count_of", estimate.count_of), ("size_of", estimate.size_of)):
            whole = pointer == "" and name == "size_of"
            if pointer is not None and not whole and not pointer.startswith("/"):
                faults.append(f"[estimate.{meter}] {name} must be a JSON pointer, such as /tickets.")
        if meter == AGENTS_COST_METER:
            faults.append(
                f"The meter {AGENTS_COST_METER} is the platform's own: limit it by limits.calls_cost_max."
            )
        if meter == MODEL_COST_METER:
            faults.append(
                f"The meter {MODEL_COST_METER} is the platform's own: limit it by limits.model_cost."
            )
    if manifest.permissions.models and manifest.limits.model_cost == 0:
        faults.append(
            "permissions.models is true, so limits.model_cost must say the most that a run may spend."
        )
    if manifest.limits.calls_cost_max > 0 and not manifest.permissions.agents:
        faults.append("limits.calls_cost_max is set, so permissions.agents must name who is called.")
    return faults

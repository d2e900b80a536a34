"""Settings from the environment: one frozen struct per process, `AGORA_` in front of each name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class SettingsError(Exception):
    """A setting is missing or unreadable; the message names the variable and what it must be."""


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs to start. URLs are `postgresql+asyncpg://…` and `nats://user:password@…`."""

    database_url: str
    database_system_url: str
    nats_url: str
    database_owner_url: str | None = None
    migrate_on_start: bool = True
    database_pool_size: int = 8
    log_level: str = "info"
    health_port: int | None = None
    drain_seconds: float = 10.0


def load_settings[S: msgspec.Struct](kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """Read `kind` from the environment: field `nats_url` comes from `AGORA_NATS_URL`.

    Raises:
        SettingsError: a required variable is missing, or one cannot be read as its type.
    """
    environment = os.environ if environment is None else environment
    given = {
        field.name: value
        for field in msgspec.structs.fields(kind)
        if (value := environment.get(f"AGORA_{field.name.upper()}")) not in (None, "")
    }
    try:
        return msgspec.convert(given, kind, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"the environment does not fit {kind.__name__}: {error}; variables are named AGORA_<FIELD>"
        ) from error


def _path(kind: type[Any], value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"settings of type {kind.__name__} cannot be read from the environment")

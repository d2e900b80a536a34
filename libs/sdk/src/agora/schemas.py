"""The base types of an agent's input, output and configuration."""

from typing import Annotated, Any, Literal, dataclass_transform

import msgspec
from msgspec import Meta

FILE_FORMAT = "agora-file"

FileRef = Annotated[str, Meta(extra_json_schema={"format": FILE_FORMAT})]
"""A file: a `file_` id on the platform, a path beside the cases file when the agent runs alone.

In a configuration, alone, it may also name a folder.
"""


class _KeywordOnly(msgspec.StructMeta):
    """Makes every subclass keyword-only.

    msgspec applies `kw_only` to the class that states it alone; without this, a required field after
    the base's defaulted ones would be refused in each agent's output.
    """

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        options.setdefault("kw_only", True)
        return super().__new__(mcls, name, bases, namespace, **options)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Input(msgspec.Struct, metaclass=_KeywordOnly, frozen=True, forbid_unknown_fields=True):
    """What a customer sends. Unknown fields are refused, so that a typing error is never ignored."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Output(msgspec.Struct, metaclass=_KeywordOnly, frozen=True):
    """What a run delivers, and how much of what was asked for that is.

    `deliverable` decides, with the listing's charge policy, what is owed; `delivered_units` counts the
    units done when it is partial. `mode` is "assisted" where a model took part.
    """

    deliverable: Literal["full", "partial", "empty"] = "full"
    delivered_units: Annotated[int, Meta(ge=0)] | None = None
    mode: Literal["baseline", "assisted"] = "baseline"


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Config(msgspec.Struct, metaclass=_KeywordOnly, frozen=True, forbid_unknown_fields=True):
    """What a deployment configures once, ahead of its runs. This base has no fields."""

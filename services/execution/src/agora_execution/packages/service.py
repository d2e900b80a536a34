"""Use cases of packages: take up the catalogue's events, find a version, check a document against its schema."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs
from agora.file_refs import every_file_ref
from agora_contracts.catalog import ListingStateChanged, PackagePublished
from agora_contracts.envelope import Envelope
from agora_contracts.problems import AgoraError, FieldError
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.packages import store
from agora_execution.packages.faults import beside, faults
from agora_execution.packages.model import PackageVersion, at, names, newest, null_characters, weighed

_CACHE_SECONDS = 2.0
_ERRORS_SHOWN = 20


class Packages:
    """Finds package versions. What it found is kept for two seconds: a listing may be that much behind."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[str, tuple[float, list[PackageVersion]]] = {}
        self._validators: dict[tuple[str, str, str, str], Any] = {}

    async def take_up(self, connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> None:
        """Apply the catalogue's events in the consumer's transaction.

        Raises:
            LookupError: a version moved that was not heard of yet; its event comes again.
        """
        for envelope in envelopes:
            event = envelope.data
            if isinstance(event, PackagePublished):
                await store.save(connection, event)
            elif isinstance(event, ListingStateChanged):
                moved = (event.package, event.version, event.state, envelope.sequence)
                if not await store.set_state(connection, *moved):
                    raise LookupError(f"{event.package} {event.version} is not known yet")
            self._found.pop(event.package, None)

    async def known(self, package: str, version: str) -> PackageVersion | None:
        """A version in whatever state it is; None when it was never heard of."""
        return next((one for one in await self._versions(package) if one.version == version), None)

    async def find(self, package: str, version: str | None = None) -> PackageVersion:
        """One version of a package: the named one, or the newest that can be executed.

        Raises:
            AgoraError: `not_found`, when it is not listed.
        """
        versions = await self._versions(package)
        chosen = (
            newest(versions) if version is None else next((v for v in versions if v.version == version), None)
        )
        if chosen is None or chosen.state in ("draft", "retired"):
            which = package if version is None else f"{package} {version}"
            raise AgoraError("not_found", f"no package {which} is listed")
        return chosen

    async def _versions(self, package: str) -> list[PackageVersion]:
        known = self._found.get(package)
        if known is not None and time.monotonic() - known[0] < _CACHE_SECONDS:
            return known[1]
        async with self._database.system() as connection:
            versions = await store.versions_of(connection, package)
        if versions:
            self._found[package] = (time.monotonic(), versions)
        return versions

    def check(self, version: PackageVersion, which: str, document: dict[str, Any]) -> None:
        """Check an input (`which` is "input") or a configuration ("config") against the version's schema.

        Raises:
            AgoraError: `invalid_input` or `invalid_config` with every fault's place and rule.
        """
        validator, schema = self._validator(version, which)
        if validator.is_valid(document):
            _refuse_null_characters(which, document)
            return
        raise _does_not_fit(version, which, faults(validator.iter_errors(document), schema))

    def check_beside(self, version: PackageVersion, document: dict[str, Any], field: str) -> None:
        """Check an input whose `field` is still to be filled, as far as that can be done without it.

        Raises:
            AgoraError: `invalid_input` with every fault that no value of the field can mend.
        """
        validator, schema = self._validator(version, "input")
        found = beside(validator.iter_errors({**document, field: ""}), field, schema)
        if found:
            raise _does_not_fit(version, "input", found)
        _refuse_null_characters("input", document)

    def _validator(self, version: PackageVersion, which: str) -> tuple[Any, dict[str, Any]]:
        schema = version.schemas.input if which == "input" else version.schemas.config
        # The price version is in the key because it changes with any change of a draft's contents.
        key = (version.package, version.version, version.price_version, which)
        validator = self._validators.get(key)
        if validator is None:
            validator = self._validators[key] = jsonschema_rs.validator_for(schema)
        return validator, schema


def weigh(version: PackageVersion, document: dict[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """The bytes of the files that an input names, by the pointers at which its estimate weighs them.

    A file that is named twice weighs twice; a pointer at which no file is named is left out.
    """
    found: dict[str, int] = {}
    for pointer in weighed(version.manifest):
        # The input with nothing but this part, so that the schema tells what in it names a file.
        part = at(pointer, document)
        for name in reversed(names(pointer)):
            part = {name: part}
        if refs := list(every_file_ref(version.schemas.input, part)):
            found[pointer] = sum(sizes[ref] for ref in refs)
    return found


def _does_not_fit(version: PackageVersion, which: str, found: list[FieldError]) -> AgoraError:
    return AgoraError(
        f"invalid_{which}",
        f"the {which} does not fit the schema of {version.package} {version.version}; see errors",
        errors=found,
    )


def _refuse_null_characters(which: str, document: dict[str, Any]) -> None:
    if places := null_characters(document)[:_ERRORS_SHOWN]:
        raise AgoraError(
            f"invalid_{which}",
            f"the {which} holds the character U+0000, which cannot be stored; leave it out",
            errors=[FieldError(field=place, detail="must not hold U+0000") for place in places],
        )

"""The rules of the catalogue itself: owners, listeners, streams."""

from collections.abc import Iterable, Mapping
from itertools import combinations

from agora_contracts.catalogue import (
    COMMANDS,
    EVENTS,
    EXTERNAL_CONSUMERS,
    PROCESSES,
    SERVICES,
    SHARED_COMMANDS,
    SHARED_VERBS,
    CommandSpec,
    EventSpec,
)
from agora_contracts.gates.messages import lineage
from agora_contracts.subjects import STREAMS, Stream, event_subject


def event_problems(
    tests: Mapping[str, list[str]], events: Iterable[EventSpec] = tuple(EVENTS.values())
) -> list[str]:
    """Events without a known producer, a consumer, or a test that sees them emitted.

    Args:
        tests: places of marked tests by the event's name.
    """
    found: list[str] = []
    types: dict[str, str] = {}
    events = list(events)
    for spec in events:
        name = spec.data.__name__
        if spec.producer not in SERVICES:
            found.append(f"{name}: its producer {spec.producer!r} is no service ({', '.join(SERVICES)})")
        if not spec.consumers:
            found.append(f"{name}: nobody consumes it; name its consumers, or do not emit it")
        found += [
            f"{name}: its consumer {one!r} is neither a service nor one of {', '.join(EXTERNAL_CONSUMERS)}"
            for one in spec.consumers
            if one not in SERVICES + EXTERNAL_CONSUMERS
        ]
        if name not in tests:
            found.append(
                f"{name}: no test shows that {spec.producer} really emits it;"
                f" mark one with @pytest.mark.emits.with_args({name})"
            )
        if lineage(spec.type) == (spec.type, 1):
            found.append(f"{name}: its type {spec.type!r} must end in a version, such as .v1")
        if spec.type in types:
            found.append(f"{name} and {types[spec.type]} have the same type {spec.type!r}")
        types[spec.type] = name
    known = {spec.data.__name__ for spec in events}
    found += [
        f"{places[0]} is marked as emitting {name}, which is no event of the catalogue"
        for name, places in tests.items()
        if name not in known
    ]
    return found


def command_problems(commands: Iterable[CommandSpec] = tuple(COMMANDS.values())) -> list[str]:
    """Commands that nobody answers or asks, or that share a subject."""
    found: list[str] = []
    subjects: dict[str, str] = {}
    for spec in commands:
        name = spec.request.__name__
        if spec.service not in PROCESSES:
            found.append(f"{name}: {spec.service!r} answers it, which is no process ({', '.join(PROCESSES)})")
        if not spec.callers:
            found.append(f"{name}: nobody asks it; name its callers, or remove it")
        found += [
            f"{name}: its caller {one!r} is no process ({', '.join(PROCESSES)})"
            for one in spec.callers
            if one not in PROCESSES
        ]
        if spec.deadline_seconds <= 0:
            found.append(f"{name}: its deadline must be more than 0 seconds")
        if spec.subject in subjects:
            found.append(f"{name} and {subjects[spec.subject]} are asked on the same subject {spec.subject}")
        subjects[spec.subject] = name
    missing = SHARED_COMMANDS.keys() ^ SHARED_VERBS.keys()
    return found + [f"{one.__name__} must be in both SHARED_COMMANDS and SHARED_VERBS" for one in missing]


def stream_problems(
    streams: Iterable[Stream] = tuple(STREAMS.values()), events: Iterable[EventSpec] = tuple(EVENTS.values())
) -> list[str]:
    """Streams that share a subject, and events that their stream does not store."""
    streams = list(streams)
    found = [
        f"streams {one.name} and {other.name} share subjects: {mine} and {theirs}"
        for one, other in combinations(streams, 2)
        for mine in one.subjects
        for theirs in other.subjects
        if overlap(mine, theirs)
    ]
    for spec in events:
        subject = event_subject("ten_1", spec.path)
        storing = [one.name for one in streams if any(overlap(subject, pattern) for pattern in one.subjects)]
        if storing != [spec.stream.name]:
            found.append(
                f"{spec.data.__name__}: stored by {', '.join(storing) or 'no stream'},"
                f" but the catalogue says {spec.stream.name}"
            )
    return found


def overlap(one: str, other: str) -> bool:
    """Whether a subject can match both patterns (`*` is one token, `>` the rest)."""
    tokens, others = one.split("."), other.split(".")
    for mine, theirs in zip(tokens, others, strict=False):
        if ">" in (mine, theirs):
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return len(tokens) == len(others)

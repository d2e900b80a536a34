"""What counts as a break of a message, and what does not."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from agora_contracts.gates.compatibility import breaks
from agora_contracts.gates.messages import lineage
from agora_contracts.gates.snapshot import breaking_changes
from msgspec import Meta


def a_message(fields: list[Any]) -> dict[str, Any]:
    """The schema of a message with these fields."""
    return msgspec.json.schema(msgspec.defstruct("Message", fields, kw_only=True))


class Inner(msgspec.Struct):
    """A part of a message."""

    name: str


class InnerRetyped(msgspec.Struct):
    """The same part with its field retyped."""

    name: int


BEFORE = [("run", str), ("seq", int), ("note", str, "")]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ([("run", str), ("seq", int)], "note is gone"),
        ([("run", int), *BEFORE[1:]], "run was string and is now integer"),
        ([*BEFORE, ("package", str)], "package is now required"),
        ([*BEFORE[:2], ("note", str)], "note is now required"),
        ([("run", str | None), *BEFORE[1:]], "run was string and is now null or string"),
        ([("run", Literal["a", "b"]), *BEFORE[1:]], "run took any value and is now one of"),
        ([("run", Annotated[str, Meta(max_length=5)]), *BEFORE[1:]], "run has a narrower maxLength"),
        ([("run", Annotated[str, Meta(pattern="^a")]), *BEFORE[1:]], "run must now match ^a"),
        ([BEFORE[0], ("seq", Annotated[int, Meta(ge=1)]), BEFORE[2]], "seq has a narrower minimum"),
    ],
)
def test_a_change_that_breaks_is_named(after: list[Any], said: str):
    """
    Whatever an old reader or an old message does not survive is told with its place.
    """
    (sentence,) = breaks(a_message(BEFORE), a_message(after))

    assert said in sentence


class Circle(msgspec.Struct, tag="circle"):
    """One shape."""

    radius: int


class CircleRetyped(msgspec.Struct, tag="circle"):
    """The same shape with its field retyped."""

    radius: str


class Square(msgspec.Struct, tag="square"):
    """Another shape."""

    side: int


class Point(msgspec.Struct, tag="point"):
    """A shape that came later."""


def test_each_alternative_of_a_tagged_union_is_compared():
    """
    An alternative that is retyped or gone is a break; a new one is none, as with a value of an enumeration.
    """
    before = a_message([("shape", Circle | Square | None, None)])
    more = a_message([("shape", Circle | Square | Point | None, None)])

    (retyped,) = breaks(before, a_message([("shape", CircleRetyped | Square | None, None)]))
    (gone,) = breaks(more, before)

    assert "shape.radius was integer and is now string" == retyped
    assert "an object of type point" in gone
    assert [] == breaks(before, more)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BEFORE, [*BEFORE, ("package", str | None, None)]),
        (BEFORE, BEFORE),
        ([("state", Literal["a"])], [("state", Literal["a", "b"])]),
        ([("run", Annotated[str, Meta(max_length=5)])], [("run", Annotated[str, Meta(max_length=9)])]),
        ([("run", Annotated[str, Meta(max_length=5)])], [("run", str)]),
    ],
)
def test_a_change_that_readers_bear_is_none(before: list[Any], after: list[Any]):
    """
    A new optional field, a new value, and a wider bound break nobody.
    """
    assert [] == breaks(a_message(before), a_message(after))


@pytest.mark.parametrize("wrap", ["alone", "list", "dict"])
def test_a_break_is_found_inside_of_parts(wrap: str):
    """
    A part that the message holds, lists or maps to is compared as well.
    """
    wrapped = {
        "alone": (Inner, InnerRetyped),
        "list": (list[Inner], list[InnerRetyped]),
        "dict": (dict[str, Inner], dict[str, InnerRetyped]),
    }
    before, after = wrapped[wrap]

    found = breaks(a_message([("part", before)]), a_message([("part", after)]))

    assert ["string and is now integer"] == [sentence.split("was ")[1] for sentence in found]


def test_a_removed_value_is_a_break():
    """
    A message sent with the value before would no longer decode.
    """
    found = breaks(a_message([("state", Literal["a", "b"])]), a_message([("state", Literal["a"])]))

    assert ["state can no longer be 'b'"] == found


def test_a_removed_message_needs_a_later_version():
    """
    A message may go only when a later version of it is there.
    """
    old = {"events/agora.run.finished.v1": a_message(BEFORE)}

    assert ["events/agora.run.finished.v1: the message is gone and has no later version"] == (
        breaking_changes(old, {})
    )
    assert [] == breaking_changes(old, {"events/agora.run.finished.v2": a_message([("run", int)])})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("events/agora.run.finished.v3", ("events/agora.run.finished", 3)),
        ("commands/billing.place_hold.request", ("commands/billing.place_hold.request", 1)),
        ("commands/billing.place_hold_v2.reply", ("commands/billing.place_hold.reply", 2)),
        ("problem", ("problem", 1)),
    ],
)
def test_versions_belong_to_one_line(name: str, expected: tuple[str, int]):
    """
    Versions of one message are told from other messages by its name alone.
    """
    assert expected == lineage(name)

"""What is told of a document that does not fit its schema: the fault that was made, and little of the document."""

from typing import Any

import jsonschema_rs
import pytest
from agora_execution import agents
from agora_execution.packages.faults import beside, faults

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shape": {"anyOf": [{"$ref": "#/$defs/circle"}, {"$ref": "#/$defs/square"}]},
        "either": {"oneOf": [{"type": "string", "minLength": 3}, {"type": "integer", "minimum": 5}]},
        "size": {"anyOf": [{"type": "string", "pattern": "^[0-9]+$", "description": "In cm."}, {"type": "null"}]},
        "tags": {"type": "array", "maxItems": 2},
    },
    "additionalProperties": False,
    "$defs": {
        "circle": {
            "type": "object", "required": ["kind", "radius"], "additionalProperties": False,
            "properties": {"kind": {"enum": ["circle"]}, "radius": {"type": "integer"}},
        },
        "square": {
            "type": "object", "required": ["kind", "side"], "additionalProperties": False,
            "properties": {"kind": {"const": "square"}, "side": {"type": "integer"}},
        },
    },
}  # fmt: skip


def told(document: dict[str, Any], schema: dict[str, Any] = SCHEMA) -> list[tuple[str, str]]:
    """The faults of a document, as field and detail."""
    found = faults(jsonschema_rs.validator_for(schema).iter_errors(document), schema)
    return [(fault.field, fault.detail) for fault in found]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"shape": {"kind": "circle"}}, [("/shape/radius", "is required")]),
        ({"shape": {"kind": "square", "side": "x"}}, [("/shape/side", '"x" is not of type "integer"')]),
        (
            {"shape": {"kind": "circle", "radius": 1, "side": 2}},
            [("/shape/side", "is not a field of the schema")],
        ),
        ({"shape": {"kind": "disc"}}, [("/shape/kind", 'must be one of "circle", "square"')]),
        ({"shape": {}}, [("/shape/kind", "is required")]),
        ({"shape": 5}, [("/shape", '5 is not of type "object"')]),
        ({"size": "-1"}, [("/size", '"-1" does not match "^[0-9]+$": In cm.')]),
        ({"size": 3}, [("/size", '3 is not of type "string" and 3 is not of type "null"')]),
        ({"either": "a"}, [("/either", '"a" is shorter than 3 characters')]),
        ({"either": 1}, [("/either", "1 is less than the minimum of 5")]),
        ({"other": 1}, [("/other", "is not a field of the schema")]),
        ({"tags": [1, 2, 3]}, [("/tags", "[1,2,3] has more than 2 items")]),
    ],
)
def test_the_fault_that_was_made_is_told(document: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """
    Of alternatives, that of the one which was meant: by the constant that tells them apart, or by the type.
    """
    assert expected == told(document)


def test_little_of_a_document_is_repeated() -> None:
    """
    A long value is cut, and what is wrong with it is still said; of many faults the first are told.
    """
    [(field, detail)] = told({"tags": ["x" * 5000, 2, 3]})
    assert ("/tags", True, True) == (field, len(detail) < 120, detail.endswith("has more than 2 items"))
    assert 20 == len(told({f"f{number}": 1 for number in range(50)}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"goal": {"kind": "audits"}}, "/goal/kind"),
        ({"goal": {"kind": "audit", "files": []}}, "/goal/files"),
        ({"goal": {"kind": "questions", "questions": [""], "package": "librarian"}}, "/goal/questions/0"),
        ({"budget": "-1"}, "/budget"),
        ({"budget": "abc"}, "/budget"),
    ],
)
def test_a_mistake_in_a_swarms_goal_is_told_where_it_is(changes: dict[str, Any], field: str) -> None:
    """
    The goals are alternatives by their kind: the one that was named says what is wrong with it.
    """
    schema = agents.get("swarm").input_schema
    good = {"goal": {"kind": "map", "inputs": [{"text": "a"}], "package": "echo"}}
    assert [] == told(good, schema)
    [(place, detail)] = told(good | changes, schema)
    assert (field, False) == (place, "anyOf" in detail)


def test_what_the_missing_field_may_mend_is_no_fault() -> None:
    """
    Of an input that waits for its message, only that is told which no message makes good.
    """
    schema = {
        "type": "object", "required": ["text", "tone"], "additionalProperties": False,
        "properties": {"text": {"type": "string", "minLength": 1}, "tone": {"enum": ["calm"]}},
    }  # fmt: skip
    validator = jsonschema_rs.validator_for(schema)

    def told_beside(document: dict[str, Any]) -> list[str]:
        errors = validator.iter_errors({**document, "text": ""})
        return [fault.field for fault in beside(errors, "text", schema)]

    assert [[], ["/tone"], ["/tone"], ["/zz"]] == [
        told_beside({"tone": "calm"}), told_beside({}), told_beside({"tone": "loud"}),
        told_beside({"tone": "calm", "zz": 1}),
    ]  # fmt: skip

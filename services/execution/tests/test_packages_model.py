"""Rules of packages that need nothing but themselves."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from agora_contracts.catalog import Estimate, Limits, Manifest, OfferedPrice, Permissions, Schemas
from agora_contracts.problems import AgoraError
from agora_execution.database import json_text
from agora_execution.packages.model import (
    PackageVersion,
    estimate,
    newest,
    null_characters,
    per_unit_basis,
    require_basis,
)
from agora_execution.packages.service import weigh


def package(version: str = "1.0.0", state: str = "published", **manifest: Any) -> PackageVersion:
    """A package version whose manifest is changed as given."""
    values: dict[str, Any] = {
        "id": "tickets", "version": version, "title": "Tickets", "summary": "Resolves tickets.",
        "category": "customer-support",
        "prices": [
            OfferedPrice(basis="month", unit_price=Decimal(10)),
            OfferedPrice(basis="task", unit_price=Decimal("0.5"), meter="tickets"),
        ],
    }  # fmt: skip
    return PackageVersion(
        package="tickets", version=version, manifest=Manifest(**(values | manifest)),
        schemas=Schemas(input={}, output={}, config={}), price_version="price", first_party=True, state=state,
    )  # fmt: skip


def test_the_newest_version_is_the_greatest_number_that_is_published() -> None:
    """
    Versions compare by number; a deprecated one is chosen only where there is no published one.
    """
    versions = [package("1.9.0"), package("1.10.0"), package("2.0.0", "deprecated")]

    found, only = newest(versions), newest(versions[2:])
    assert found is not None and "1.10.0" == found.version
    assert only is not None and "2.0.0" == only.version
    assert newest([]) is None


def test_a_list_in_the_input_is_counted_for_the_estimate() -> None:
    """
    An estimate by the elements of a list; without the list the input is at fault, with its place.
    """
    listed = package(estimate={"tickets": Estimate(count_of="/batch/tickets")})
    counted = estimate(listed, "task", {"batch": {"tickets": [1, 2, 3]}}, models=False)

    assert [("tickets", Decimal(3), 3)] == [(one.meter, one.quantity, one.events) for one in counted]
    for wrong in ({}, {"batch": 1}, {"batch": {"tickets": "three"}}):
        with pytest.raises(AgoraError) as caught:
            estimate(listed, "task", wrong, models=False)
        assert ["/batch/tickets"] == [error.field for error in caught.value.problem.errors]


FILES = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "agora-file"},
        "batch": {
            "type": "object",
            "properties": {"sources": {"type": "array", "items": {"$ref": "#/$defs/Source"}}},
        },
    },
    "$defs": {"Source": {"properties": {"file": {"type": "string", "format": "agora-file"}}}},
}


@pytest.mark.parametrize(
    ("pointer", "bytes_"),
    [("/file", 1), ("/batch/sources", 3_000_000_004), ("/batch", 3_000_000_004), ("", 3_000_000_005)],
)
def test_files_in_the_input_are_weighed_for_the_estimate(pointer: str, bytes_: int) -> None:
    """
    An estimate by the size of files is exact to the byte; a file that is named twice is read and weighed twice.
    """
    schemas = Schemas(input=FILES, output={}, config={})
    listed = replace(package(estimate={"tickets": Estimate(size_of=pointer)}), schemas=schemas)
    sources = [{"file": "big"}, {"file": "small"}, {"file": "small"}]
    document = {"file": "tiny", "batch": {"sources": sources}}
    weights = weigh(listed, document, {"tiny": 1, "small": 2, "big": 3_000_000_000})

    (estimated,) = estimate(listed, "task", document, models=False, weights=weights)

    assert Decimal(bytes_) == estimated.quantity * 10**9
    assert 1 == estimated.events


def test_a_file_that_is_weighed_must_be_there() -> None:
    """
    Without a file nothing can be estimated, and the input is at fault, with its place; an empty file weighs nothing.
    """
    schemas = Schemas(input=FILES, output={}, config={})
    listed = replace(package(estimate={"tickets": Estimate(size_of="/file")}), schemas=schemas)

    with pytest.raises(AgoraError) as caught:
        estimate(listed, "task", {}, models=False, weights=weigh(listed, {}, {}))
    document = {"file": "empty"}
    (nothing,) = estimate(
        listed, "task", document, models=False, weights=weigh(listed, document, {"empty": 0})
    )

    assert ["/file"] == [error.field for error in caught.value.problem.errors]
    assert 0 == nothing.quantity


@pytest.mark.parametrize(
    ("models", "granted", "cost", "meters"),
    [
        (True, True, "0.05", ["tickets", "model.cost"]),
        (False, True, "0.05", ["tickets"]),
        (True, False, "0.05", ["tickets"]),
        (True, True, "0", ["tickets"]),
    ],
)
def test_models_are_estimated_where_they_can_be_asked(
    models: bool, granted: bool, cost: str, meters: list[str]
) -> None:
    """
    The most that models may cost is part of the estimate if a key is set, the manifest asks, and it is not zero.
    """
    listed = package(permissions=Permissions(models=granted), limits=Limits(model_cost=Decimal(cost)))

    assert meters == [one.meter for one in estimate(listed, "task", {}, models=models)]


def test_what_called_runs_may_cost_is_estimated() -> None:
    """
    What a run's calls may cost at most is part of its estimate, whether models can be asked or not; nothing where none.
    """
    limits = Limits(calls_cost_max=Decimal("0.50"))
    calls = package(permissions=Permissions(agents=["*"]), limits=limits)

    for models in (True, False):
        estimated = {one.meter: one.quantity for one in estimate(calls, "task", {}, models=models)}
        assert Decimal("0.50") == estimated["agents.cost"]
    assert "agents.cost" not in [one.meter for one in estimate(package(), "task", {}, models=True)]


def test_the_input_says_what_called_agents_may_cost_where_the_manifest_lets_it() -> None:
    """
    Its amount is set aside in the place of the manifest's; without a pointer, or an amount, that one stands.
    """

    def set_aside(document: dict[str, Any], **limits: Any) -> list[tuple[str, Decimal]]:
        listed = package(limits=Limits(calls_cost_max=Decimal("0.50"), **limits))
        found = estimate(listed, "task", document, models=False)
        return [(one.meter, one.quantity) for one in found if one.meter == "agents.cost"]

    half, two = [("agents.cost", Decimal("0.50"))], [("agents.cost", Decimal("2.00"))]
    assert half == set_aside({"budget": "2.00"})
    assert two == set_aside({"budget": "2.00"}, calls_cost_of="/budget")
    assert half == set_aside({}, calls_cost_of="/budget")
    assert [] == set_aside({"budget": "0"}, calls_cost_of="/budget")


@pytest.mark.parametrize("said", ["much", "-1", "1000.01", "NaN", 2.5, True, []])
def test_an_amount_that_is_none_is_refused(said: Any) -> None:
    """
    No number, negative, too large, or no string: the field is named.
    """
    listed = package(limits=Limits(calls_cost_of="/budget"))
    with pytest.raises(AgoraError) as caught:
        estimate(listed, "task", {"budget": said}, models=False)

    assert ["/budget"] == [error.field for error in caught.value.problem.errors]


def test_a_one_shot_run_pays_by_the_unit() -> None:
    """
    The first per-unit price is taken; a package without one cannot be run in one shot.
    """
    assert "task" == per_unit_basis(package())
    with pytest.raises(AgoraError) as caught:
        per_unit_basis(package(prices=[OfferedPrice(basis="month", unit_price=Decimal(10))]))
    assert "basis_not_rated" == caught.value.slug


def test_a_basis_must_be_offered() -> None:
    """
    Work and time can be hired where they are offered; the refusal of anything else says what is.
    """
    require_basis(package(), "task")
    require_basis(package(), "month")
    with pytest.raises(AgoraError, match="month, task") as caught:
        require_basis(package(), "job")
    assert "invalid_price" == caught.value.slug


def test_null_characters_are_found_wherever_they_are() -> None:
    """
    In values, names of fields, and lists; what only looks like one is left alone.
    """
    document = {"a": "x\0", "b": [{"c": ["ok", "\0"]}], "d\0": 1, "e": "\\u0000", "f": 3}

    assert ["/", "/a", "/b/0/c/1"] == null_characters(document)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("\\u0000", "\\u0000"),
        ("\\\0", "\\\ufffd"),
        ("\0\0", "\ufffd\ufffd"),
        ("plain", "plain"),
    ],
)
def test_a_document_is_stored_with_its_null_characters_replaced(text: str, stored: str) -> None:
    """
    jsonb refuses U+0000; everything else stays as it is, also a backslash that stands before it.
    """
    import json

    assert stored == json.loads(json_text(text))

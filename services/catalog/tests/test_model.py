"""The rules of listings, alone."""

from decimal import Decimal
from typing import Annotated, Any, get_args

import msgspec
import pytest
from agora_catalog.announced import announced_packages
from agora_catalog.listings.model import (
    CATEGORIES,
    EXECUTABLE,
    FIRST_STATES,
    VISIBLE,
    VersionState,
    author_faults,
    contents_hash,
    is_executable,
    manifest_faults,
    may_move,
    next_states,
    price_version_id,
    shown_version,
)
from agora_catalog.listings.schema_rules import schema_faults
from agora_contracts.catalog import (
    Author,
    Category,
    ChargePolicy,
    Estimate,
    Limits,
    ListingState,
    Manifest,
    OfferedPrice,
    Permissions,
    PublishPackage,
    Schemas,
)
from hypothesis import given
from hypothesis import strategies as st

STATES: tuple[ListingState, ...] = get_args(ListingState)
AN_OBJECT: dict[str, Any] = {"type": "object"}
A_PRICE = OfferedPrice(basis="task", meter="tasks", unit_price=Decimal("0.5"))
AN_ESTIMATE = {"tasks": Estimate(fixed=Decimal(1))}
A_MANIFEST = Manifest(
    id="sorter",
    version="1.0.0",
    title="Sorter",
    summary="Sorts.",
    category="it-devops",
    prices=[A_PRICE],
    estimate=AN_ESTIMATE,
)


def schemas(**changes: Any) -> Schemas:
    """Sound schemas; `changes` replace one."""
    return Schemas(**({"input": AN_OBJECT, "output": AN_OBJECT, "config": AN_OBJECT} | changes))


def changed(**changes: Any) -> Manifest:
    """A sound manifest with some fields replaced."""
    return msgspec.structs.replace(A_MANIFEST, **changes)


def test_all_moves() -> None:
    """
    The moves between states, whole: nothing else is allowed, and nothing leaves retirement.
    """
    moves = {state: next_states(state) for state in STATES}

    assert moves == {
        "announced": ["published", "retired"],
        "draft": ["announced", "published", "retired"],
        "published": ["deprecated", "retired"],
        "deprecated": ["published", "retired"],
        "retired": [],
    }
    assert not any(may_move(state, state) for state in STATES)


def test_what_each_state_means() -> None:
    """
    Announced is visible and not executable, draft and retired are neither; a version begins in three states.
    """
    assert {"announced", "published", "deprecated"} == VISIBLE
    assert {"published", "deprecated"} == EXECUTABLE
    assert {"announced", "draft", "published"} == FIRST_STATES
    assert not is_executable("published", first_party=False)
    assert list(get_args(Category)) == list(CATEGORIES)


VERSIONS = st.dictionaries(
    st.tuples(*[st.integers(0, 20)] * 3).map(lambda parts: ".".join(map(str, parts))),
    st.sampled_from(STATES),
    max_size=8,
)


@given(VERSIONS)
def test_the_shown_version_is_visible_and_executable_if_any_is(versions: dict[str, ListingState]) -> None:
    """
    A package shows a visible version whenever it has one, and an executable one before an announced one.
    """
    shown = shown_version(VersionState(version=one, state=state) for one, state in versions.items())

    states = set(versions.values())
    if shown is None:
        assert not states & VISIBLE
        return
    wanted = next(state for state in ("published", "deprecated", "announced") if state in states)
    assert wanted == versions[shown]
    rivals = [one for one, state in versions.items() if state == wanted]
    assert shown == max(rivals, key=lambda one: [int(part) for part in one.split(".")])


def test_a_hash_is_of_contents_not_of_writing() -> None:
    """
    Trailing zeros and the order of keys change neither hash nor price version; a price does, and so does
    every other field.
    """
    package = PublishPackage(manifest=A_MANIFEST, schemas=schemas(), first_party=True)
    price = msgspec.structs.replace(A_PRICE, unit_price=Decimal("0.500"))
    same = msgspec.structs.replace(package, manifest=changed(prices=[price]))
    assert contents_hash(package) == contents_hash(same)
    assert price_version_id(package) == price_version_id(same)

    dearer = msgspec.structs.replace(A_PRICE, unit_price=Decimal("0.6"))
    others = [
        msgspec.structs.replace(package, manifest=changed(prices=[dearer])),
        msgspec.structs.replace(package, manifest=changed(charges=ChargePolicy(partial="share:0.5"))),
        msgspec.structs.replace(package, schemas=schemas(config={"type": "object", "title": "C"})),
        msgspec.structs.replace(package, first_party=False),
    ]
    assert len({contents_hash(one) for one in [package, *others]}) == 5


def test_a_sound_manifest_has_no_faults() -> None:
    """
    A manifest with a price per unit, rentals, and an estimate per priced meter is sound.
    """
    prices = [A_PRICE, OfferedPrice(basis="hour", unit_price=Decimal(5))]
    assert manifest_faults(changed(prices=prices)) == []
    assert (
        manifest_faults(
            changed(permissions=Permissions(models=True), limits=Limits(model_cost=Decimal("0.05")))
        )
        == []
    )


def test_only_packages_from_elsewhere_have_an_author() -> None:
    """
    The platform's own packages share with nobody; a share is from 0 to 1.
    """
    authored = changed(author=Author(id="acme-labs", share=Decimal("0.7")))
    schemas = Schemas(input={}, output={}, config={})

    own = PublishPackage(manifest=authored, schemas=schemas, first_party=True)
    assert ["/manifest/author"] == [fault.field for fault in author_faults(own)]
    assert [] == list(author_faults(msgspec.structs.replace(own, first_party=False)))
    assert [] == list(author_faults(msgspec.structs.replace(own, manifest=changed())))
    for share in ("1.01", "-0.1"):
        with pytest.raises(ValueError, match="share must be from 0 to 1"):
            Author(id="acme-labs", share=Decimal(share))


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (changed(state="deprecated"), "/manifest/state"),
        (changed(title="a\x07b"), "/manifest/title"),
        (changed(summary="  "), "/manifest/summary"),
        (changed(description="null \x00"), "/manifest/description"),
        (changed(tags=["a", "A"]), "/manifest/tags"),
        (changed(tags=["ok", ""]), "/manifest/tags/1"),
        (changed(prices=[A_PRICE, A_PRICE]), "/manifest/prices/1/basis"),
        (
            changed(prices=[OfferedPrice(basis="job", unit_price=Decimal(1))], estimate={}),
            "/manifest/prices/0/meter",
        ),
        (
            changed(prices=[A_PRICE, OfferedPrice(basis="month", meter="tasks", unit_price=Decimal(1))]),
            "/manifest/prices/1/meter",
        ),
        (
            changed(
                prices=[OfferedPrice(basis="task", meter="Tasks!", unit_price=Decimal(1))],
                estimate={"Tasks!": Estimate(fixed=Decimal(1))},
            ),
            "/manifest/prices/0/meter",
        ),
        (
            changed(
                prices=[OfferedPrice(basis="task", meter="model.cost", unit_price=Decimal(1))],
                estimate={"model.cost": Estimate(fixed=Decimal(1))},
            ),
            "/manifest/prices/0/meter",
        ),
        (changed(estimate={}), "/manifest/estimate/tasks"),
        (changed(estimate=AN_ESTIMATE | {"pages": Estimate(fixed=Decimal(1))}), "/manifest/estimate/pages"),
        (changed(estimate={"tasks": Estimate()}), "/manifest/estimate/tasks"),
        (changed(estimate={"tasks": Estimate(fixed=Decimal(1), count_of="/a")}), "/manifest/estimate/tasks"),
        (changed(estimate={"tasks": Estimate(count_of="tickets")}), "/manifest/estimate/tasks/count_of"),
        (changed(estimate={"tasks": Estimate(size_of="file")}), "/manifest/estimate/tasks/size_of"),
        (changed(estimate={"tasks": Estimate(size_of="/a", count_of="/b")}), "/manifest/estimate/tasks"),
        (changed(permissions=Permissions(models=True)), "/manifest/limits/model_cost"),
        (changed(limits=Limits(model_cost=Decimal(1))), "/manifest/permissions/models"),
        (changed(limits=Limits(calls_cost_max=Decimal(1))), "/manifest/permissions/agents"),
        (changed(permissions=Permissions(network=["http://x/"])), "/manifest/permissions/network/0"),
    ],
)
def test_each_fault_is_named(manifest: Manifest, field: str) -> None:
    """
    A manifest that breaks one rule is faulted at that field alone, with what to change.
    """
    faults = manifest_faults(manifest)

    assert [field] == [fault.field for fault in faults]
    assert all(fault.detail for fault in faults)


def deep(levels: int) -> dict[str, Any]:
    """A schema nested so many levels deep."""
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return {"type": "object"} | schema


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "objekt"}, "/schemas/input/type"),
        ({"type": "object", "properties": {"a": {"pattern": "(("}}}, "/schemas/input/properties/a/pattern"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "/schemas/input/$schema"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}}, "/schemas/input"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "/schemas/input"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "/schemas/input"),
        ({"type": "array"}, "/schemas/input"),
        ({"$ref": "#"}, "/schemas/input"),
        ({}, "/schemas/input"),
        (deep(500), "/schemas/input"),
        ({"type": "object", "description": "a\0b"}, "/schemas/input"),
        ({"type": "object", "properties": {"a\0b": {}}}, "/schemas/input"),
    ],
)
def test_each_fault_of_a_schema_is_named(schema: dict[str, Any], field: str) -> None:
    """
    A schema must be valid 2020-12, complete in itself (nothing is ever fetched) and describe an object.
    """
    assert [field] == [fault.field for fault in schema_faults(A_MANIFEST, schemas(input=schema))]


class Ticket(msgspec.Struct):
    """An element of a list."""

    text: str


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """An input as the SDK describes it, with references."""

    tickets: list[Ticket]
    title: str = ""


@pytest.mark.parametrize(
    ("pointer", "faults"), [("/tickets", 0), ("/title", 1), ("/nothing", 1), ("/tickets/0", 1)]
)
def test_an_estimate_counts_a_list(pointer: str, faults: int) -> None:
    """
    `count_of` must name a list where the input's schema says what stands there.
    """
    manifest = changed(estimate={"tasks": Estimate(count_of=pointer)})

    found = schema_faults(manifest, schemas(input=msgspec.json.schema(Batch)))
    assert ["/manifest/estimate/tasks/count_of"] * faults == [fault.field for fault in found]


class Batched(msgspec.Struct, forbid_unknown_fields=True):
    """An input that names files, some of them in parts of it."""

    sources: list["Source"]
    title: str = ""
    file: Annotated[str, msgspec.Meta(extra_json_schema={"format": "agora-file"})] | None = None


class Source(msgspec.Struct):
    """A part that names a file."""

    file: Annotated[str, msgspec.Meta(extra_json_schema={"format": "agora-file"})]
    next: "Source | None" = None


@pytest.mark.parametrize(
    ("pointer", "faults"), [("", 0), ("/file", 0), ("/sources", 0), ("/title", 1), ("/nothing", 1)]
)
def test_an_estimate_weighs_files(pointer: str, faults: int) -> None:
    """
    `size_of` must name a part of the input in which the schema says that files are named, at any depth.
    """
    manifest = changed(estimate={"tasks": Estimate(size_of=pointer)})

    found = schema_faults(manifest, schemas(input=msgspec.json.schema(Batched)))
    assert ["/manifest/estimate/tasks/size_of"] * faults == [fault.field for fault in found]


def test_a_basis_may_rate_several_meters() -> None:
    """
    Under one basis each meter has its own price, so that a package may ask for its work and for its volume.
    """
    volume = OfferedPrice(basis="task", meter="gigabytes", unit_price=Decimal("0.1"))
    estimate = AN_ESTIMATE | {"gigabytes": Estimate(fixed=Decimal(1))}

    assert [] == manifest_faults(changed(prices=[A_PRICE, volume], estimate=estimate))


def test_the_announced_packages_are_sound_and_complete() -> None:
    """
    The seven packages that ship as announced have the prices of the product, per unit first.
    """
    packages = announced_packages()

    assert [fault for one in packages for fault in manifest_faults(one.manifest)] == []
    assert [fault for one in packages for fault in schema_faults(one.manifest, one.schemas)] == []
    assert {
        one.manifest.id: {p.basis: str(p.unit_price) for p in one.manifest.prices} for one in packages
    } == {
        "audit-agent": {"audit": "5.00", "month": "600"},
        "deployment-agent": {"deployment": "1.50", "month": "350"},
        "escalation-manager": {"escalation": "0.25", "month": "100"},
        "incident-responder": {"incident": "2.00", "hour": "10", "month": "500"},
        "report-generator": {"report": "3.00", "month": "250"},
        "security-scanner": {"scan": "2.50", "month": "450"},
        "workflow-orchestrator": {"execution": "0.75", "month": "400"},
    }
    assert {"announced"} == {one.manifest.state for one in packages}

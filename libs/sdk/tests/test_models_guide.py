"""Every example of the guide about models works as it stands there."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import agora
import pytest
from agora.files import LocalFiles
from agora.models import LocalModels
from agora.models.vendors import VENDORS

from tests.support.llm_wire import Asked, Reply, Wire, serving

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "models-and-keys.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """The vendors."""
    async with serving() as fake:
        yield fake


def defined(name: str) -> Any:
    """What a block of the guide defines."""
    [block] = [text for text in BLOCKS if f"def {name}(" in text]
    names: dict[str, Any] = {}
    exec(compile(block, "models-and-keys.md", "exec"), names)
    return names[name]


def test_every_block_is_tested() -> None:
    """
    There is no example of Python in the guide that the tests below do not run.
    """
    tested = ("classify", "tell", "act", "describe", "nearness")

    assert len(tested) == len(BLOCKS)
    assert all(callable(defined(name)) for name in tested)


async def test_asking_with_a_schema(wire: Wire) -> None:
    """
    The guide's classification comes as its schema, and as None where no model answers.
    """
    wire.answer = Reply(pieces=('{"category": "bug", "sure": true}',))
    verdict = await defined("classify")(LocalModels(wire.environment("openai")), "It crashes.")

    assert ("bug", True) == (verdict.category, verdict.sure)
    assert await defined("classify")(LocalModels({}), "It crashes.") is None


async def test_text_as_it_comes(wire: Wire) -> None:
    """
    The guide's streamed answer is the whole text.
    """
    assert "Hello to you" == await defined("tell")(LocalModels(wire.environment("openai")), "Hello?")


async def test_tools(wire: Wire) -> None:
    """
    The guide's loop hands a wrong call back, and takes the next one.
    """

    def answer(_: Asked) -> Reply:
        wrong = len(wire.asked) < 2
        return Reply(pieces=("",), tool=("pay", '{"amount": 0}' if wrong else '{"amount": 3}'))

    wire.answer = answer
    [paid] = await defined("act")(LocalModels(wire.environment("openai")), "Pay three cents.")

    assert (3, 2) == (paid.amount, len(wire.asked))
    assert "do not fit" in str(wire.asked[1].body)


async def test_images(wire: Wire, tmp_path: Path) -> None:
    """
    The guide's picture is sent to a model that sees.
    """
    (tmp_path / "cat.png").write_bytes(b"a cat")
    models = LocalModels(wire.environment("openai"), files=LocalFiles(tmp_path, tmp_path / "out"))

    assert "Hello to you" == await defined("describe")(models, "cat.png")
    assert "gpt-4o" == wire.asked[0].model


async def test_vectors(wire: Wire) -> None:
    """
    The guide's two equal vectors are as near as can be.
    """
    near = await defined("nearness")(LocalModels(wire.environment("openai")), "one", "two")

    assert 1.0 == round(near, 3)


def test_the_guide_names_what_exists() -> None:
    """
    Names of the SDK, vendors, their variables and their models stand in the guide as they are.
    """
    names = set(re.findall(r"agora\.([A-Z]\w+)", GUIDE))
    assert set() == {name for name in names if not hasattr(agora, name)}
    for vendor in VENDORS.values():
        [row] = [line for line in GUIDE.splitlines() if line.startswith(f"| `{vendor.name}`")]
        assert vendor.key_name in row
        assert all(model in row for model in vendor.models.values())

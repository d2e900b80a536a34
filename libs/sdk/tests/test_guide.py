"""The guide's own example works as it stands there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import agora
import msgspec
from agora_contracts.catalog import Manifest

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "writing-an-agent.md").read_text(encoding="utf-8")


def block(language: str, holds: str) -> str:
    """The code block of a language that holds a text."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return next(text for text in found if holds in text)


def test_the_guides_agent_runs(tmp_path: Path) -> None:
    """
    The agent in the guide, with the manifest in the guide, is valid and counts words.
    """
    (tmp_path / "agent.toml").write_text(block("toml", "[[prices]]"))
    (tmp_path / "agora_word_count.py").write_text(block("python", "agora.Agent(__file__"))
    (tmp_path / "pyproject.toml").write_text(block("toml", "entry-points"))
    command = [
        sys.executable,
        "-m",
        "agora.cli",
        "run",
        ".",
        "--input",
        '{"text": "one two three"}',
        "--json",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)

    assert msgspec.json.decode(result.stdout)["output"]["words"] == 3


def test_the_guides_manifest_shows_every_part() -> None:
    """
    The manifest in the guide is valid, and names each section that a manifest has.
    """
    raw = tomllib.loads(block("toml", "[[prices]]"))
    manifest = msgspec.convert(raw, Manifest)

    assert manifest.id == "word-count"
    assert {"permissions", "limits", "prices", "charges", "estimate"} <= set(raw)


def test_the_guide_names_what_exists() -> None:
    """
    Every name of the SDK in the guide is one that the SDK has.
    """
    names = set(re.findall(r"agora\.([A-Z]\w+)", GUIDE))

    assert {name for name in names if not hasattr(agora, name)} == set()

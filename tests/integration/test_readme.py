"""What the documents tell a newcomer works as it stands there: commands, code, links."""

import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from tests.support.tenancy import Customer
from tests.support.terminal import run

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted((CHECKOUT / "README.md", *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("*/*/README.md")))

_ADDRESS = "http://127.0.0.1:8000"
_RUNNABLE = re.compile(r"^<!-- run -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCKS: list[tuple[str, str]] = _RUNNABLE.findall(README)


def told(language: str, block: str, customer: Customer, folder: Path) -> str:
    """What a block prints, run as the README says, with the platform's address in place of the usual one."""
    text = block.replace(_ADDRESS, customer.api_url)
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    done = run(command, customer, folder)

    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    for sign in ("/problems/", "Traceback", "error:"):
        assert sign not in done.stdout + done.stderr, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def documents_in(text: str) -> list[Any]:
    """The JSON values that stand in a text one after the other."""
    found = []
    left = text.strip()
    while left:
        value, end = json.JSONDecoder().raw_decode(left)
        found.append(value)
        left = left[end:].strip()
    return found


def test_the_readme_has_what_a_newcomer_types() -> None:
    """
    The first call stands there three times: with curl, with the client, with the command.
    """
    assert ["sh", "python", "sh"] == [language for language, _ in BLOCKS]
    assert [True, True, True] == [
        sign in text
        for (_, text), sign in zip(BLOCKS, ("curl", "agora.Client", "agora execute"), strict=True)
    ]


def test_the_first_call_with_curl(newcomer: Customer, tmp_path: Path) -> None:
    """
    The marketplace, a run, the statement; sent again it is the same run, charged once.
    """
    language, block = BLOCKS[0]
    packages, run_document, statement = documents_in(told(language, block, newcomer, tmp_path))
    again = documents_in(told(language, block, newcomer, tmp_path))

    assert "echo" in {item["id"] for item in packages["items"]}
    assert ("succeeded", "hello") == (run_document["status"], run_document["output"]["text"])
    assert ["charge", "top_up"] == [line["kind"] for line in statement["items"]]
    assert statement["entries_sum"] == statement["balance"]["credit"]
    assert [packages, run_document, statement] == again


def test_the_first_call_with_the_client(newcomer: Customer, tmp_path: Path) -> None:
    """
    It prints how the run ended, what it gave, what it cost, and why.
    """
    language, block = BLOCKS[1]
    output = told(language, block, newcomer, tmp_path)

    for sign in ("succeeded", "hello", "0.010000", "0.01 USD charged"):
        assert sign in output


def test_the_first_call_with_the_command(newcomer: Customer, tmp_path: Path) -> None:
    """
    Packages, a run that is watched, the list of runs with its cost, the balance after it.
    """
    language, block = BLOCKS[2]
    output = told(language, block, newcomer, tmp_path)

    for sign in ("knowledge-base", "hello", "succeeded", "0.010000 USD", "999.990000 USD"):
        assert sign in output


def test_the_agent_in_twenty_lines(tmp_path: Path) -> None:
    """
    In the folder that `agora new` makes, the README's agent is valid and runs alone.
    """
    block = next(
        text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "agora.Agent(" in text
    )
    assert run(["agora", "new", "word-counter"], None, tmp_path).returncode == 0
    (tmp_path / "word-counter" / "src" / "agora_word_counter" / "__init__.py").write_text(block)
    valid = run(["agora", "validate", "word-counter"], None, tmp_path)
    counted = run(
        ["agora", "run", "word-counter", "--input", '{"text": "one two three"}', "--json"], None, tmp_path
    )

    assert (0, True) == (valid.returncode, "valid agent" in valid.stdout), valid.stderr
    assert counted.returncode == 0, counted.stderr
    assert 3 == msgspec.json.decode(counted.stdout)["output"]["words"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(document: Path) -> None:
    """
    Every relative link of a document names a file or a folder that is there.
    """
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))
    links = [unquote(link.split("#")[0]) for link in _LINK.findall(text)]
    relative = [link for link in links if link and not re.match(r"[a-z]+:", link)]

    assert [] == [link for link in relative if not (document.parent / link).exists()]


def test_commands_of_the_checkout_exist() -> None:
    """
    Every `./dev` command in the README is a recipe of the justfile.
    """
    recipes = set(re.findall(r"^([a-z][\w-]*)[^:=\n]*:", (CHECKOUT / "justfile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\./dev ([a-z-]+)", README))

    assert named
    assert set() == named - recipes

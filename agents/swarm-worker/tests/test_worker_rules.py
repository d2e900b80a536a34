"""The engineer's rules, on the sources of the evals and on what is hostile."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from agora_swarm_worker.audit.documents import ENTRIES_MAX
from agora_swarm_worker.audit.findings import audit, quote
from agora_swarm_worker.audit.fixes import try_fixes
from agora_swarm_worker.audit.reading import FILE_BYTES_MAX, read_bytes
from agora_swarm_worker.audit.rules import RULES, apply

EVALS = Path(__file__).parents[1] / "evals"
SOURCES = sorted((EVALS / "sources").iterdir(), key=lambda path: path.name)


def unmarked(path: Path) -> tuple[str, list[tuple[str, int]]]:
    """A source's text and the findings that it is marked with."""
    spec = importlib.util.spec_from_file_location("swarm_worker_build", EVALS / "build_swarm_worker.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: tuple[str, list[tuple[str, int]]] = module.unmarked(path.read_text(encoding="utf-8"))
    return found


def rules_of(text: str | bytes, name: str) -> list[tuple[str, int]]:
    """Rules and lines of what is found in a text."""
    content = text.encode() if isinstance(text, str) else text
    return sorted((match.rule, match.line) for match in apply(read_bytes(content, name)))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_an_eval_is_audited_as_marked(source: Path) -> None:
    """
    Each file breaks the rules that it is marked with, in these lines, and no others.
    """
    text, expected = unmarked(source)

    assert expected == rules_of(text, source.name.partition("-")[2])


def test_every_rule_says_what_to_do() -> None:
    """
    Ids are unique and every rule has a title and a remedy.
    """
    assert all(rule.title and rule.remedy and rule.id == identity for identity, rule in RULES.items())
    assert len(RULES) > 40


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "empty.yaml"),
        (b"\x00\x01\x02\xff" * 100, "binary.json"),
        (b"\xff\xfe\x00", "half.yaml"),
        (b"a: " + b"[" * 5_000, "deep.yaml"),
        (b"[" * 100_000, "deep.json"),
        (b"{" * 3_000, "open.conf"),
        (b"FROM", "Dockerfile"),
        (b"RUN \\\n" * 2_000, "Dockerfile"),
        (b"a = '''" + b"x" * 10_000, "open.toml"),
        (b"x" * 1_000_000, "long.env"),
        ("k\u2028y: \x85 z\n".encode(), "breaks.yaml"),
        (b"a: !!python/object/apply:os.system ['touch /tmp/agora-pwned']\n", "code.yaml"),
        (b'a: "\\0\\ud800"\n', "surrogate.yaml"),
    ],
)
def test_hostile_content_is_a_finding_at_most(content: bytes, name: str) -> None:
    """
    Whatever a file holds, it is read or named; nothing is executed and nothing is raised.
    """
    found = rules_of(content, name)

    assert all(line >= 1 for _, line in found)
    assert not Path("/tmp/agora-pwned").exists()


def test_aliases_that_unfold_are_not_followed_for_ever() -> None:
    """
    A billion laughs is named too large after a bounded number of values.
    """
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    document = read_bytes("\n".join(levels).encode(), "laughs.yaml")

    assert "too_large" in {fault.code for fault in document.faults}
    assert sum(len(part.entries) for part in document.parts) <= ENTRIES_MAX


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """
    It is named with its limit instead.
    """
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    _, findings = audit(path, "f1", "file_1", "huge.yaml")

    assert ["CFG003"] == [finding.rule for finding in findings]


@pytest.mark.parametrize(
    ("line", "rule", "secret"),
    [
        ("password: h7Tq-92kd-Lz", "SEC001", "Tq-92kd-Lz"),
        ('  "clientSecret": "Zx81-kkd9-22mm",', "SEC001", "81-kkd9"),
        ("url: postgres://shop:Sup3rGeheim@db/x", "NET002", "p3rGeheim"),
        ("key: AKIAIOSFODNN7EXAMPLE", "DBG001", "IOSFODNN7"),
    ],
)
def test_a_quote_never_shows_a_secret(line: str, rule: str, secret: str) -> None:
    """
    Evidence shows the line with what may be a secret cut, whatever rule quotes it.
    """
    assert secret not in quote(line, rule)


def test_a_remedy_counts_only_if_it_works(tmp_path: Path) -> None:
    """
    The switch is turned off in the diff; what needs a person is left alone.
    """
    path = tmp_path / "web.yaml"
    path.write_text(unmarked(EVALS / "sources" / "tune-web-deployment.yaml")[0])
    document, findings = audit(path, "f1", "web.yaml", "web.yaml")
    fixed = try_fixes(document, findings)

    assert {"K8S001", "K8S002", "K8S003"} == {identity.split(":")[1] for identity in fixed.solved}
    assert "-            privileged: true" in fixed.diff
    assert "+            privileged: false" in fixed.diff

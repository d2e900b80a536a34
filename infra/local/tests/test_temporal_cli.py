"""Where the Temporal CLI is taken from, in which order, and what is said when there is none."""

import os
from pathlib import Path

import pytest
from agora_local.parts import PartFailed, temporal_cli

WORKS = "#!/bin/sh\necho --db-filename\n"
OTHER_PROGRAM = "#!/bin/sh\necho 'temporal: a calendar'\n"


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a Temporal CLI, without Go, and without the open internet."""

    def unreachable(folder: Path, say: temporal_cli.Say) -> Path:
        raise PartFailed("no route to host")

    monkeypatch.delenv("AGORA_TEMPORAL_CLI", raising=False)
    monkeypatch.setenv("AGORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(temporal_cli, "_download", unreachable)
    return tmp_path


def test_the_one_on_path_is_taken_when_it_has_a_server(machine: Path) -> None:
    """
    A usable program on PATH needs nothing else.
    """
    expected = program(machine / "bin" / "temporal", WORKS)

    assert expected == temporal_cli.find_temporal_cli()


def test_it_is_built_once_and_kept(machine: Path) -> None:
    """
    Another program of the name is passed over; Go builds ours, says so, and the next start finds it.
    """
    program(machine / "bin" / "temporal", OTHER_PROGRAM)
    made = '"$GOBIN/temporal"'
    build = f"#!/bin/sh\nprintf '%s' \"{WORKS}\" >{made}\nchmod +x {made}\necho $2 >>{machine}/built\n"
    program(machine / "bin" / "go", build)
    said: list[str] = []

    first = temporal_cli.find_temporal_cli(said.append)
    second = temporal_cli.find_temporal_cli(said.append)

    assert first == second == machine / "cache" / f"temporal-{temporal_cli.VERSION}" / "temporal"
    assert (machine / "built").read_text().split() == ["github.com/temporalio/cli/cmd/temporal@v1.5.1"]
    assert any("Building the Temporal CLI" in line for line in said)
    # Nothing half-made stays beside it.
    assert {"lock", "temporal"} == {path.name for path in first.parent.iterdir()}


def test_a_failing_build_is_told_with_its_reason_and_what_to_do(machine: Path) -> None:
    """
    Every way that was tried is named, and nothing that looks like a program is left.
    """
    program(machine / "bin" / "go", "#!/bin/sh\necho 'go: module lookup disabled' >&2\nexit 1\n")

    with pytest.raises(PartFailed) as caught:
        temporal_cli.find_temporal_cli(lambda line: None)

    for expected in ("download: no route to host", "build: go: module lookup disabled", "AGORA_TEMPORAL_CLI"):
        assert expected in str(caught.value)
    assert not (machine / "cache" / f"temporal-{temporal_cli.VERSION}" / "temporal").exists()


def test_without_go_it_says_so(machine: Path) -> None:
    """
    A machine on which nothing works is told what to install.
    """
    os.environ["PATH"] = str(machine / "bin")

    with pytest.raises(PartFailed, match="there is no `go` on PATH"):
        temporal_cli.find_temporal_cli(lambda line: None)


def test_a_wrong_explicit_path_is_an_error_not_a_search(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever names a program wants that one.
    """
    program(machine / "bin" / "temporal", WORKS)
    monkeypatch.setenv("AGORA_TEMPORAL_CLI", str(program(machine / "wrong", OTHER_PROGRAM)))

    with pytest.raises(PartFailed, match="AGORA_TEMPORAL_CLI is"):
        temporal_cli.find_temporal_cli()

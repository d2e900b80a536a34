"""The command `agora` as a customer types it."""

from pathlib import Path

import msgspec

from tests.support.tenancy import Customer
from tests.support.terminal import run


def test_packages_execute_runs_balance(newcomer: Customer, tmp_path: Path) -> None:
    """
    A run is watched from its steps to its charge: notes on standard error, its output alone on standard out;
    the lists show it.
    """
    packages = run(["agora", "packages", "--search", "echo"], newcomer, tmp_path)
    watched = run(
        ["agora", "execute", "echo", "--input", '{"text": "hello", "steps": 2}', "--watch"],
        newcomer,
        tmp_path,
    )
    listed = run(["agora", "runs"], newcomer, tmp_path)
    balance = run(["agora", "balance"], newcomer, tmp_path)

    for done in (packages, watched, listed, balance):
        assert done.returncode == 0, done.stderr
    assert "0.01/task" in packages.stdout
    assert "hello" == msgspec.json.decode(watched.stdout)["text"]
    assert 2 == watched.stderr.count("done: Echo the text")
    assert watched.stderr.index("run.accepted") < watched.stderr.index("run.charged")
    assert "succeeded" in listed.stdout
    assert "0.010000 USD" in listed.stdout
    assert "999.990000 USD" in balance.stdout


def test_json_is_one_value_that_parses(newcomer: Customer, tmp_path: Path) -> None:
    """
    With --json a command prints one JSON value and nothing else on standard out.
    """
    started = run(
        ["agora", "execute", "echo", "--input", '{"text": "hi"}', "--watch", "--json"], newcomer, tmp_path
    )
    state = msgspec.json.decode(started.stdout)
    shown = msgspec.json.decode(run(["agora", "runs", state["id"], "--json"], newcomer, tmp_path).stdout)
    balance = msgspec.json.decode(run(["agora", "balance", "--json"], newcomer, tmp_path).stdout)
    statement = msgspec.json.decode(run(["agora", "statement", "--json"], newcomer, tmp_path).stdout)

    assert ("succeeded", "0.010000") == (state["status"], state["cost"]["amount"])
    assert (state["id"], 1) == (shown["run"]["id"], len(shown["steps"]))
    assert "999.990000" == balance["credit"]["amount"] == statement["entries_sum"]["amount"]


def test_a_command_repeated_under_its_key_is_the_same_run(newcomer: Customer, tmp_path: Path) -> None:
    """
    With an idempotency key a file that was uploaded before is not uploaded again, so that it is the same request.
    """
    (tmp_path / "t.csv").write_text("name,age\nAda,36\nAlan,41\n")
    command = ["agora", "execute", "data-processor", "--file", "file=t.csv", "--json"]
    command += ["--idempotency-key", "once"]
    first, second = (run(command, newcomer, tmp_path) for _ in range(2))

    assert 0 == first.returncode == second.returncode, first.stderr + second.stderr
    assert msgspec.json.decode(first.stdout)["id"] == msgspec.json.decode(second.stdout)["id"]


def test_a_file_is_uploaded_into_the_input(newcomer: Customer, tmp_path: Path) -> None:
    """
    --file NAME=PATH uploads and puts the file's id into the input.
    """
    (tmp_path / "t.csv").write_text("name,age\nAda,36\nAlan,41\n")
    command = ["agora", "execute", "data-processor", "--file", "file=t.csv", "--watch", "--json"]
    done = run(command, newcomer, tmp_path)

    assert done.returncode == 0, done.stderr
    assert 2 == msgspec.json.decode(done.stdout)["output"]["rows_in"]


def test_a_failing_run_ends_with_one_and_its_reason(newcomer: Customer, tmp_path: Path) -> None:
    """
    Who watches learns from the exit code and the message that the run failed, and why.
    """
    done = run(
        ["agora", "execute", "echo", "--input", '{"text": "a", "fail": "rejected"}', "--watch"],
        newcomer,
        tmp_path,
    )

    assert 1 == done.returncode
    assert "asked_to_reject" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_goes_wrong_is_said_in_a_sentence(newcomer: Customer, tmp_path: Path) -> None:
    """
    A wrong key, an address where nothing answers or that is none, bad input, an unknown package: exit code
    and what to change, never a traceback.
    """
    execute = ["agora", "execute", "echo", "--input"]
    for command, code, says in (
        (["agora", "balance", "--key", "ak_00000000_wrong"], 1, "AGORA_API_KEY"),
        (["agora", "balance", "--url", "http://127.0.0.1:9"], 1, "does not answer"),
        (["agora", "balance", "--url", "my-platform:8000"], 1, "unsupported protocol"),
        ([*execute, '{"text": ""}'], 1, "/text"),
        ([*execute, "{"], 2, "--input"),
        ([*execute, "@missing.json"], 2, "missing.json"),
        (["agora", "execute", "nothing-here"], 1, "nothing-here"),
    ):
        done = run(command, newcomer, tmp_path)
        told = f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code == done.returncode, told
        assert says in done.stderr, told
        assert "Traceback" not in done.stderr, told
        assert not done.stdout.strip(), told

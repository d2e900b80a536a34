"""The check that requirements.lock and the pyproject files agree."""

from importlib import metadata
from pathlib import Path

import pytest
from agora_local.lock_check import main, problems, read_lock

HASH = " \\\n    --hash=sha256:00\n"


def workspace(folder: Path, *, asks: str, lock: str) -> Path:
    """A workspace of one member that asks for `asks`."""
    (folder / "libs" / "one").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "all"\n[tool.uv]\noverride-dependencies = []\n')
    (folder / "libs" / "one" / "pyproject.toml").write_text(
        f'[project]\nname = "one"\ndependencies = {asks}\n'
    )
    (folder / "requirements.lock").write_text(lock)
    return folder


def test_what_is_asked_for_locked_and_installed_is_fine(tmp_path: Path) -> None:
    """
    A lock with exactly the installed closure has no problems, markers of other systems included.
    """
    version = metadata.version("msgspec")
    lock = f"msgspec=={version}{HASH}pywin32==1 ; sys_platform == 'win32'{HASH}"

    assert problems(workspace(tmp_path, asks='["msgspec>=0.20"]', lock=lock)) == []


@pytest.mark.parametrize(
    ("asks", "lock", "said"),
    [
        ('["msgspec"]', "", "one asks for msgspec, which is not locked"),
        ('["msgspec>900"]', f"msgspec==0.1{HASH}", "one asks for msgspec>900, but 0.1 is locked"),
        ('["msgspec"]', f"msgspec==0.1{HASH}", "msgspec 0.1 is locked, but"),
        ('["nowhere"]', f"nowhere==1{HASH}", "nowhere 1 is locked, but not installed"),
        ("[]", f"msgspec==1{HASH}", "msgspec 1 is locked, but nothing asks for it"),
        ('["msgspec"]', "msgspec==1\n", "msgspec is locked without a hash"),
    ],
)
def test_each_disagreement_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asks: str, lock: str, said: str
) -> None:
    """
    The message names the package and the side that is wrong, and what to run.
    """
    assert main(workspace(tmp_path, asks=asks, lock=lock)) == 1

    errors = capsys.readouterr().err
    assert said in errors
    assert "./dev lock" in errors


def test_a_line_that_pins_nothing_is_refused() -> None:
    """
    A lock is of exact versions; anything else is an error, not a guess.
    """
    with pytest.raises(ValueError, match="does not name one version"):
        read_lock("msgspec>=1 --hash=sha256:00")


def test_groups_of_members_ask_too(tmp_path: Path) -> None:
    """
    What only a member's dependency group asks for belongs in the lock, as the export puts it there.
    """
    root = workspace(tmp_path, asks="[]", lock=f"msgspec=={metadata.version('msgspec')}{HASH}")
    with (root / "libs" / "one" / "pyproject.toml").open("a") as file:
        file.write('[dependency-groups]\ndev = ["msgspec"]\nall = [{include-group = "dev"}]\n')

    assert problems(root) == []

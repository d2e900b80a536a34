"""docs/money.md names tests; they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "money.md"
FOLDERS = ("services", "libs", "infra", "tests")

_FILE = re.compile(r"`(?:[a-z/]+/)?(test_\w+\.py)(?:: (\w+))?`")
_NAME = re.compile(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`")


def test_every_test_that_the_page_names_is_there():
    """
    Each file and each test of the table exists: a renamed or removed one is renamed or removed there, too.
    """
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("test_*.py")]
    texts = "".join(path.read_text(encoding="utf-8") for path in files)
    tests = set(re.findall(r"def test_(\w+)\(", texts))
    page = PAGE.read_text(encoding="utf-8")

    named_files = {file for file, _ in _FILE.findall(page)}
    named_tests = {test for _, test in _FILE.findall(page) if test} | set(_NAME.findall(page))

    assert named_files and named_tests
    assert set() == named_files - {path.name for path in files}
    assert set() == named_tests - tests

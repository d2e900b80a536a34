"""The check of migrations finds what they lack."""

import importlib
import itertools
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agora_local.migrations_check import problems, services
from agora_local.parts import Postgres
from agora_local.platform import PROCESSES

type Check = Callable[[str], list[str]]

_ENV = """
    from sqlalchemy import Column, Integer, Table, Text
    from agora_kit.database import new_metadata
    from agora_kit.migrations import run

    metadata = new_metadata()
    Table(
        "notes", metadata,
        Column("tenant_id", Text, nullable=False), Column("id", Text, primary_key=True), Column("size", Integer),
    )
    run(metadata)
"""
_VERSION = """
    from agora_kit.migrations import secure_table
    from alembic import op

    revision = "0001"
    down_revision = None

    def upgrade():
        {body}
"""


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """Numbers for services that exist in one test only."""
    return itertools.count()


@pytest.fixture
def check(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: Iterator[int]
) -> Check:
    """Checks a service whose only migration does `body`; its store describes the table `notes`."""
    service = f"checked{next(numbers)}"
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    package = tmp_path / "src" / f"agora_{service}"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "migrations" / "env.py").write_text(textwrap.dedent(_ENV))
    monkeypatch.syspath_prepend(package.parent)
    importlib.invalidate_caches()

    def run(body: str) -> list[str]:
        text = textwrap.dedent(_VERSION).format(body=body.format(service=service))
        (versions / "0001_initial.py").write_text(text)
        return problems(postgres_server.url, service)

    return run


CREATE = "op.execute('CREATE TABLE notes (tenant_id text NOT NULL, id text{key}, size {size})'); "
SECURE = "secure_table('{service}', 'notes')"


def test_migrations_that_make_what_is_described_hold(check: Check):
    """
    A table as described and under row-level security is no problem.
    """
    assert [] == check(CREATE.format(key=" PRIMARY KEY", size="integer") + SECURE)


def test_a_type_that_differs_is_told(check: Check):
    """
    A column of another type than described is named.
    """
    (found,) = check(CREATE.format(key=" PRIMARY KEY", size="text") + SECURE)

    assert "modify type" in found
    assert "notes, size" in found


def test_a_table_that_is_missing_is_told(check: Check):
    """
    A described table that no migration makes is named.
    """
    (found,) = check("pass")

    assert "the migrations lack add table: notes" in found


def test_a_table_that_nobody_describes_is_told(check: Check):
    """
    A table that only the migration knows is named, since nobody would migrate it on.
    """
    body = CREATE.format(key=" PRIMARY KEY", size="integer") + SECURE
    (found,) = check(body + "; op.execute('CREATE TABLE forgotten (id text PRIMARY KEY)')")

    assert "the migrations lack remove table: forgotten" in found


def test_a_table_of_tenants_without_row_level_security_is_told(check: Check):
    """
    A table with a tenant that every tenant could read is named.
    """
    (found,) = check(CREATE.format(key=" PRIMARY KEY", size="integer"))

    assert "table notes has a tenant_id but no row-level security" in found


def test_every_service_with_a_database_is_checked():
    """
    The check goes through the services that the platform runs.
    """
    assert {spec.database for spec in PROCESSES} == set(services())

"""What the repository's sources say about messages, read with `ast` and never imported."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

_TEST_ROOTS = ("libs", "services", "agents", "infra", "tests")


def emitted_in_tests(root: Path) -> dict[str, list[str]]:
    """Events that some test is marked with, `@pytest.mark.emits.with_args(RunFinished)`: name to places."""
    found: dict[str, list[str]] = {}
    for top in _TEST_ROOTS:
        for path in sorted((root / top).rglob("test_*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
            for name, line in _emits(tree):
                found.setdefault(name, []).append(f"{path.relative_to(root).as_posix()}:{line}")
    return found


def _emits(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if isinstance(node, ast.ClassDef) or node.name.startswith("test_"):
                for decorator in node.decorator_list:
                    yield from _marks(decorator)
        elif isinstance(node, ast.Call) and _dotted(node.func) == "pytest.param":
            for keyword in node.keywords:
                if keyword.arg == "marks":
                    yield from _marks(keyword.value)


def _marks(node: ast.expr) -> Iterator[tuple[str, int]]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and _dotted(call.func).endswith("mark.emits.with_args"):
            for argument in call.args:
                yield _dotted(argument).rsplit(".", 1)[-1], call.lineno


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of names and attributes, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def foreign_imports(package: Path) -> list[str]:
    """Imports of a package's files that are neither its own, nor the standard library, nor msgspec."""
    allowed = {package.name, "msgspec", *sys.stdlib_module_names}
    found: list[str] = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""] if node.level == 0 else []
            else:
                continue
            place = f"{path.relative_to(package).as_posix()}:{node.lineno}"
            found += [f"{place} imports {one}" for one in modules if one.split(".")[0] not in allowed]
    return found


def names_used(folder: Path) -> set[str]:
    """Every name and attribute that a folder's sources use outside of import lines."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
    return names

"""Columns as customers name them: by the name in the result, or as the file writes it."""

from collections.abc import Mapping, Sequence

from agora_data_processor.faults import TableError


def resolve(wanted: str, names: Sequence[str], sources: Mapping[str, str], place: str) -> str:
    """The column meant: the exact name, else the file's own name for it, else the same but for case.

    `sources` maps a column's present name to its name in the file.

    Raises:
        TableError: there is none, or several fit equally.
    """
    if wanted in names:
        return wanted
    for same in (_identical, _like):
        found = [name for name in names if same(wanted, sources.get(name, "")) or same(wanted, name)]
        if len(found) == 1:
            return found[0]
    listed = ", ".join(repr(name) for name in names[:30])
    raise TableError("column_unknown", f"There is no column {wanted!r}. The table has: {listed}.", place)


def _identical(wanted: str, name: str) -> bool:
    return wanted == name


def _like(wanted: str, name: str) -> bool:
    return bool(name) and wanted.strip().casefold() == name.strip().casefold()

"""Rows of a workbook's sheet (xlsx, xlsb, xls, ods) as strings, through calamine."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agora_data_processor import limits, native
from agora_data_processor.faults import TableError
from agora_data_processor.records import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetChoice:
    """The sheet that is read, and the others that were not."""

    name: str
    others: list[str]


def choose_sheet(path: Path, name: str, wanted: str | None) -> SheetChoice:
    """The sheet asked for, else the visible one with most cells.

    Raises:
        TableError: the workbook is encrypted or damaged, has no such sheet, or holds nothing.
    """
    workbook = _open(path, name)
    from python_calamine import CalamineError, SheetTypeEnum, SheetVisibleEnum

    if wanted is not None:
        if wanted not in workbook.sheet_names:
            listed = ", ".join(workbook.sheet_names[:20])
            raise TableError(
                "sheet_unknown", f"There is no sheet {wanted!r}. The workbook has: {listed}.", name
            )
        return SheetChoice(name=wanted, others=[other for other in workbook.sheet_names if other != wanted])
    sizes: dict[str, int] = {}
    for sheet in workbook.sheets_metadata:
        if sheet.visible != SheetVisibleEnum.Visible or sheet.typ != SheetTypeEnum.WorkSheet:
            continue
        try:
            opened = workbook.get_sheet_by_name(sheet.name)
        except (CalamineError, ValueError, OSError):
            continue  # a damaged sheet beside a sound one is not the one to read
        sizes[sheet.name] = opened.height * opened.width
    if not sizes or max(sizes.values()) == 0:
        raise TableError("file_empty", "The workbook has no visible sheet with cells in it.", name)
    best = max(sizes, key=lambda sheet: sizes[sheet])
    return SheetChoice(name=best, others=[other for other in workbook.sheet_names if other != best])


def read_batches(path: Path, name: str, sheet: str) -> Iterator[Batch]:
    """The sheet's rows with their row numbers; rows without any value are skipped.

    Raises:
        TableError: the sheet cannot be read, or is wider than a table may be.
    """
    workbook = _open(path, name)
    opened = workbook.get_sheet_by_name(sheet)
    if opened.width > limits.COLUMNS_MAX:
        raise TableError(
            "too_many_columns", f"The sheet has {opened.width} columns; at most {limits.COLUMNS_MAX}.", name
        )
    top = opened.start[0] if opened.start else 0
    batch = Batch()
    for offset, cells in enumerate(opened.to_python(skip_empty_area=True)):
        row = [_text(cell) for cell in cells]
        if not any(row):
            continue
        batch.lines.append(top + offset + 1)
        batch.rows.append(row)
        if len(batch.rows) >= limits.BATCH_RECORDS:
            yield batch
            batch = Batch()
    if batch.rows:
        yield batch


def _open(path: Path, name: str):  # type: ignore[no-untyped-def]  # its class is private to the extension
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        with path.open("rb") as stream:
            return CalamineWorkbook.from_filelike(stream)
    except PasswordError as error:
        raise TableError(
            "file_encrypted",
            "The workbook is protected by a password. Remove it and send the file again.",
            name,
        ) from error
    except (CalamineError, OSError, ValueError) as error:
        raise TableError(
            "file_damaged", f"The workbook cannot be read ({error}). Save it again and send that.", name
        ) from error


def _text(cell: object) -> str | None:
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        return native.number(cell)
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return str(cell)
    return None if cell is None else str(cell)

"""Files that are no tables, or mean harm: a typed error that names the file, in bounded memory."""

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import xlsxwriter  # type: ignore[import-untyped]
from agora_data_processor import limits
from agora_data_processor.faults import TableError

type Clean = Callable[..., Any]


def _zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def _workbook(*rows: Sequence[object]) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet("Data")
    for number, row in enumerate(rows):
        sheet.write_row(number, 0, row)
    book.close()
    return out.getvalue()


_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b" \n\t\r\n", "file_empty"),
        (bytes(1_000), "file_empty"),
        (b"%PDF-1.7 ...", "file_not_a_table"),
        (b"\x1f\x8b\x08\x00" + bytes(range(100)), "file_not_a_table"),
        (bytes(range(256)) * 20, "file_not_a_table"),
        (b"<!DOCTYPE html><table></table>", "file_not_a_table"),
        (_zipped(**{"a.txt": b"hello"}), "file_not_a_table"),
        (_zipped(**{"xl__workbook.xml": b"<x/>"})[:-30], "file_damaged"),
        (_workbook(["a"], [1])[:3_000], "file_damaged"),
        (_workbook(), "file_empty"),
        (_OLE + "EncryptedPackage".encode("utf-16-le"), "file_encrypted"),
        (_OLE, "file_not_a_table"),
        (b"[" * 50_000, "file_not_a_table"),
        (b"[1, 2, 3]", "file_not_a_table"),
        (b'{"a": ', "file_damaged"),
        ((b'{"a":' * 3_000 + b"1" + b"}" * 3_000 + b"\n") * 2, "file_not_a_table"),
        ((",".join("x" * 6_000) + "\n").encode(), "too_many_columns"),
    ],
)
def test_what_is_no_table_is_refused_by_name(content: bytes, code: str, clean: Clean) -> None:
    """
    The error names what is wrong and in which file; nothing is half done.
    """
    with pytest.raises(TableError) as caught:
        clean(content, name="upload.csv")
    assert caught.value.code == code
    assert "0-upload.csv" in (caught.value.place or "")


def test_a_zip_bomb_is_stopped_while_it_unpacks(clean: Clean) -> None:
    """
    A workbook that unpacks to far more than its size is refused before anything holds it.
    """
    bomb = _zipped(**{"xl__workbook.xml": b"<x/>", "xl__worksheets__sheet1.xml": bytes(60_000_000)})
    assert len(bomb) < 200_000
    with pytest.raises(TableError) as caught:
        clean(bomb, name="bomb.xlsx")
    assert caught.value.code == "file_too_large"


def test_a_wrong_extension_does_not_matter(clean: Clean) -> None:
    """
    The content decides: a CSV called xlsx is read as CSV, a workbook called csv as a workbook.
    """
    assert clean("a;b\n1;2\n", name="lie.xlsx").rows == [(1, 2)]
    assert clean(_workbook(["a", "b"], [1, "x"], [2, "y"]), name="lie.csv").rows == [(1, "x"), (2, "y")]


def test_one_endless_line_costs_one_record(clean: Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line beyond the limit is rejected with its beginning; the rows around it come through.
    """
    monkeypatch.setattr(limits, "RECORD_CHARACTERS_MAX", 10_000)
    result = clean(b"a,b\n1," + b"x" * 95_000 + b"\n2,y\n3,z\n")
    assert result.rows == [(2, "y"), (3, "z")]
    assert [(row["line"], row["reason"]) for row in result.rejected] == [("2", "record_too_long")]


def test_nul_bytes_are_dirt(clean: Clean) -> None:
    """
    Single NUL bytes are taken out and counted; they end no text and stop no reader.
    """
    result = clean(b"a,b\n1,x\0y\n2,\0\n3,zzzzzzzzzz\n")
    assert result.rows == [(1, "xy"), (2, None), (3, "zzzzzzzzzz")]
    assert result.cleaned.loaded[0].repairs.nul_lines == 2


def test_native_numbers_of_a_sheet_keep_their_meaning(clean: Clean) -> None:
    """
    1.234 as a number in a German workbook is one and a bit, whatever texts beside it write.
    """
    rows: list[list[object]] = [
        ["Nr", "Wert", "Preis"],
        [1, 1.234, "1.234,50"],
        [2, 2.5, "99,00"],
        [3, "4,75", "5,25"],
    ]
    result = clean(_workbook(*rows), name="mixed.xlsx")
    assert result.rows == [(1, 1.234, 1234.5), (2, 2.5, 99.0), (3, 4.75, 5.25)]

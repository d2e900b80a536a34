"""What each kind of file becomes, and how a file that cannot be read is refused."""

import io
import zipfile
from pathlib import Path

import docx
import pytest
from agora_knowledge_base.reading import Document, Unreadable, read
from agora_knowledge_base.reading.gathering import Fault, gather
from pypdf import PdfWriter

PDF_TEXT = "BT /F1 12 Tf 72 700 Td (%s) Tj 0 -20 Td (%s) Tj ET"


def a_pdf(*pages: tuple[str, str]) -> bytes:
    """A small PDF with two lines of text on each page."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for lines in pages:
        content = PDF_TEXT % lines
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {font} /Contents {len(objects)} 0 R >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    tail = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer << /Size {size} /Root 1 0 R >>\n"
    return out + f"{tail}startxref\n{len(out)}\n%%EOF".encode()


def texts(document: Document) -> list[tuple[str, str]]:
    """Kind and text of each block."""
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def test_markdown_gives_headings_paragraphs_items_rows_and_code() -> None:
    """
    Each block is a slice of the file, without the marker of its list item and without its fence.
    """
    text = "# Title\n\nA *b*.\n\n- one\n- two\n\n```sh\nrun it\n```\n\n| A | B |\n|---|---|\n| 1 | 2 |\n"
    document = read("x.md", text.encode())

    assert texts(document) == [
        ("heading", "# Title"),
        ("text", "A *b*."),
        ("item", "one"),
        ("item", "two"),
        ("code", "run it"),
        ("row", "| 1 | 2 |"),
    ]
    assert document.blocks[-1].rendered == "A: 1; B: 2"


def test_front_matter_becomes_fields() -> None:
    """
    Flat values between two lines of dashes are fields to filter by, and no text.
    """
    document = read("x.md", b"---\ntitle: Privacy\nowner: 'legal'\n---\n# Privacy\n\nText.\n")

    assert document.fields == {"title": "Privacy", "owner": "legal"}
    assert [kind for kind, _ in texts(document)] == ["heading", "text"]


def test_html_leaves_out_what_nobody_reads() -> None:
    """
    Navigation, scripts and styles are gone; a table's rows carry its header.
    """
    page = (
        "<html><head><title>T</title><style>p{}</style></head><body><nav>Home</nav><h1>Pool</h1>"
        "<p>Open <b>daily</b>.</p><table><tr><th>Day</th><th>Hours</th></tr>"
        "<tr><td>Monday</td><td>9-5</td></tr></table><script>steal()</script></body></html>"
    )
    document = read("x.html", page.encode())

    assert texts(document) == [("heading", "Pool"), ("text", "Open daily."), ("row", "Monday | 9-5")]
    assert document.blocks[-1].rendered == "Day: Monday; Hours: 9-5"


def test_deeply_nested_html_is_survived() -> None:
    """
    A page nested fifty thousand deep is read without a recursion error.
    """
    document = read("x.html", b"<html><body>" + b"<div>" * 50_000 + b"deep")

    assert texts(document) == [("text", "deep")]


def test_a_pdf_counts_pages() -> None:
    """
    Each block knows its page.
    """
    document = read("x.pdf", a_pdf(("First page.", "More."), ("Second page.", "End.")))

    assert {block.number for block in document.blocks} == {1, 2}
    assert "Second page." in document.text


def test_a_pdf_with_a_password_is_refused() -> None:
    """
    The error says that the password is the reason.
    """
    writer = PdfWriter(clone_from=io.BytesIO(a_pdf(("Secret.", "."))))
    writer.encrypt("owner-and-user", algorithm="RC4-128")
    written = io.BytesIO()
    writer.write(written)

    with pytest.raises(Unreadable) as caught:
        read("x.pdf", written.getvalue())

    assert caught.value.code == "file_encrypted"


def test_a_word_document_gives_headings_lists_and_tables() -> None:
    """
    Styles decide what a paragraph is; a table's first row is its header.
    """
    made = docx.Document()
    made.add_heading("Leave", level=1)
    made.add_paragraph("29 days a year.")
    made.add_paragraph("Tell your lead", style="List Bullet")
    table = made.add_table(rows=2, cols=2)
    for cell, text in zip([*table.rows[0].cells, *table.rows[1].cells], ("A", "B", "1", "2"), strict=True):
        cell.text = text
    written = io.BytesIO()
    made.save(written)

    document = read("x.docx", written.getvalue())

    assert [block.kind for block in document.blocks] == ["heading", "text", "item", "row"]
    assert document.blocks[-1].rendered == "A: 1; B: 2"


def test_a_csv_row_is_quoted_as_it_stands_in_the_file() -> None:
    """
    A row with a line break in quotes is one block, and its slice is the raw record.
    """
    text = 'name;note\nanna;"two\nlines; here"\nbert;x\n'
    document = read("x.csv", text.encode())

    assert [text[block.start : block.end] for block in document.blocks] == [
        'anna;"two\nlines; here"',
        "bert;x",
    ]
    assert document.blocks[0].rendered == "name: anna; note: two lines; here"
    assert document.blocks[1].fields == {"name": "bert", "note": "x"}


def test_json_elements_are_slices_of_the_file() -> None:
    """
    Elements of a list and lines of JSONL are blocks; nested keys are joined.
    """
    listed = read("x.json", b'[{"a": {"b": 1}}, {"a": {"b": 2}}]')
    lines = read("x.jsonl", b'{"a": {"b": 1}}\n{"a": {"b": 2}}\n')

    for document in (listed, lines):
        assert [text for _, text in texts(document)] == ['{"a": {"b": 1}}', '{"a": {"b": 2}}']
        assert document.blocks[1].rendered == "a.b: 2"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_text_is_read_in_its_encoding(encoding: str) -> None:
    """
    Marks and statistics tell how a file is written.
    """
    words = "Die Rückgabe ist in Köln möglich, für alle größeren Geräte über 50 Euro. " * 5

    assert words.strip() in read("x.txt", words.encode(encoding)).text


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("x.txt", b"", "empty"),
        ("x.md", b"  \n ", "empty"),
        ("x.bin", b"\x00\x01\x02" * 50, "unsupported_type"),
        ("x.pdf", b"no pdf", "file_damaged"),
        ("x.pdf", b"%PDF-1.4 broken", "file_damaged"),
        ("x.docx", b"PK\x03\x04 broken", "file_damaged"),
        ("x.docx", b"\xd0\xcf\x11\xe0" + b"\0" * 100, "file_encrypted"),
        ("x.json", b"{", "file_damaged"),
        ("x.jsonl", b'{"a": 1}\nnope', "file_damaged"),
        ("x.csv", b"a,b\n", "empty"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(name: str, data: bytes, code: str) -> None:
    """
    Each fault has its code, and never a traceback of a library.
    """
    with pytest.raises(Unreadable) as caught:
        read(name, data)

    assert caught.value.code == code


def test_a_folder_gives_documents_and_faults(tmp_path: Path) -> None:
    """
    What is damaged is named, what is hidden is passed over, and links out of the folder are not followed.
    """
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.md").write_text("# A\n\nText.")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.txt").write_text("hidden")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4")
    (folder / "link.txt").symlink_to(outside)

    found = list(gather(folder, "docs"))

    assert [(type(one), one.name) for one in found] == [(Fault, "bad.pdf"), (Document, "sub/a.md")]


def test_a_zip_is_read_in_memory(tmp_path: Path) -> None:
    """
    Members are documents; a zip inside a zip is named as a fault.
    """
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("x.txt", "x")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.writestr("../../etc/a.md", "# A\n\nText.")
        packed.writestr("inner.zip", inner.getvalue())

    found = list(gather(tmp_path / "all.zip", "all.zip"))

    assert [(type(one), one.name) for one in found] == [(Document, "../../etc/a.md"), (Fault, "inner.zip")]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """
    What a zip says it unpacks to is bounded, and each member when it is read.
    """
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.txt", b"a" * (60 * 1024 * 1024))

    found = list(gather(tmp_path / "bomb.zip", "bomb.zip"))

    assert [(one.name, one.code) for one in found if isinstance(one, Fault)] == [("a.txt", "too_large")]

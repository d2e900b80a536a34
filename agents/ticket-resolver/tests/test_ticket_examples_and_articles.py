"""What a deployment gives: labelled examples and articles, in order and out of it."""

from pathlib import Path

import pytest
from agora_ticket_resolver import articles, labelled
from agora_ticket_resolver.articles import Article


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "a.jsonl",
            '{"text": "broken", "category": "bug"}\n\n{"subject": "Bill", "body": "wrong", "label": "billing"}',
        ),
        (
            "a.json",
            '[{"text": "broken", "category": "bug"}, {"text": "Bill\\nwrong", "category": "billing"}]',
        ),
        ("a.csv", "\ufeffsubject;body;category\n;broken;bug\nBill;wrong;billing\n"),
        ("a.csv", 'subject,body,queue\n,broken,bug\nBill,"wrong",billing\n'),
    ],
)
def test_examples_are_read_from_the_usual_files(tmp_path: Path, name: str, content: str) -> None:
    """
    JSON lines, a JSON list and CSV with any delimiter give the same examples.
    """
    path = tmp_path / name
    path.write_text(content, "utf-8")

    found = labelled.from_file(path, name)

    assert [(one.text, one.category) for one in found] == [("broken", "bug"), ("Bill\nwrong", "billing")]


def test_priorities_of_other_help_desks_are_understood() -> None:
    """
    "Critical", "P2" and "Normal" are levels by other names.
    """
    records = [
        {"text": "x", "category": "c", "priority": name} for name in ("Critical", "P2", "Normal", "minor")
    ]

    assert [one.priority for one in labelled.from_records(records, "s", "item")] == [
        "urgent",
        "high",
        "medium",
        "low",
    ]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "bad"),
        (b'{"text": "x"}', "bad, line 1"),
        (b'{"text": "x", "category": "c"}\n{"text": ', "bad, line 2"),
        (b'{"text": "x", "category": ["c"]}', "bad, line 1"),
        (b'{"text": "x", "category": "c", "priority": "soon"}', "bad, line 1"),
        (b"\xff\xfe\x00", "bad, byte 0"),
        (b'{"category": "c"}', "bad, line 1"),
    ],
)
def test_bad_examples_are_refused_with_their_place(tmp_path: Path, content: bytes, place: str) -> None:
    """
    The error says which line of which file is at fault.
    """
    path = tmp_path / "bad"
    path.write_bytes(content)

    with pytest.raises(labelled.BadExamples) as caught:
        labelled.from_file(path, "bad")

    assert caught.value.place == place


GUIDE = """---
title: "Passwords"
---
# Passwords

Before you start, read this.

## Reset it

To reset your password:

1. Open the page.
2. Choose **Forgot**.

## Change it

Open the settings.
"""


def test_every_passage_stands_in_its_article_to_the_letter() -> None:
    """
    A quotation can be found again by its text and by its lines.
    """
    found = articles.passages(Article(source="p.md", text=GUIDE))
    lines = GUIDE.split("\n")

    assert all(one.text in GUIDE for one in found)
    assert all("\n".join(lines[one.line_first - 1 : one.line_last]) == one.text for one in found)
    assert {one.title for one in found} == {"Passwords"}


def test_a_lead_stays_with_the_list_it_opens() -> None:
    """
    Steps are quoted whole, with the sentence that introduces them.
    """
    reset = next(
        one for one in articles.passages(Article(source="p.md", text=GUIDE)) if one.heading == "Reset it"
    )

    assert reset.text.startswith("To reset") and reset.text.endswith("**Forgot**.")


def test_a_line_without_end_is_cut() -> None:
    """
    One line of a megabyte becomes passages of bounded length.
    """
    found = articles.passages(Article(source="p.txt", text="word " * 20_000))

    assert max(len(one.text) for one in found) <= 2 * articles.PASSAGE_CHARACTERS


def test_articles_of_other_kinds_are_refused(tmp_path: Path) -> None:
    """
    A file that is no text, and a folder without articles, are named in the error.
    """
    (tmp_path / "a.exe").write_bytes(b"MZ")

    for path in (tmp_path / "a.exe", tmp_path):
        with pytest.raises(articles.BadArticle) as caught:
            articles.read(path, path.name)
        assert path.name in str(caught.value)


def test_pages_and_records_are_articles_too(tmp_path: Path) -> None:
    """
    HTML is read without its scripts, JSON by its fields.
    """
    (tmp_path / "a.html").write_text(
        "<html><title>Fees</title><script>x()</script><p>It costs <b>5</b> EUR.</p></html>"
    )
    (tmp_path / "b.json").write_text('[{"id": "faq-1", "question": "How much?", "answer": "5 EUR."}]')

    page, record = articles.read(tmp_path, "kb")

    assert (page.title, "It costs 5 EUR." in page.text, "x()" in page.text) == ("Fees", True, False)
    assert (record.source, record.title, record.text) == ("faq-1", "How much?", "5 EUR.")

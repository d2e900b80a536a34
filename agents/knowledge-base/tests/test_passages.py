"""How documents become passages, and that every quote stands in its source."""

from itertools import pairwise

from agora_knowledge_base import passages, sentences
from agora_knowledge_base.passages import Passage
from agora_knowledge_base.reading import read
from hypothesis import given
from hypothesis import strategies as st


def split(name: str, text: str, words_max: int = 120) -> list[Passage]:
    """The passages of a text."""
    return list(passages.split(read(name, text.encode()), words_max))


def test_a_locator_names_headings_and_lines() -> None:
    """
    The headings above a passage and its first and last line are its place.
    """
    found = split("docs/billing.md", "# Billing\n\nIntro.\n\n## Refunds\n\nOne.\nTwo.\n\nThree.\n")

    assert [passage.locator for passage in found] == [
        "docs/billing.md#Billing:L3",
        "docs/billing.md#Billing > Refunds:L7-L10",
    ]


def test_rows_are_passages_with_fields() -> None:
    """
    Each row can be found, cited and filtered by itself.
    """
    first, second = split("p.csv", "zone,price\nA,3\nB,2\n")

    assert (first.locator, second.locator) == ("p.csv#row 1", "p.csv#row 2")
    assert second.fields == {"zone": "B", "price": "2"}
    assert (second.units[0].quote, second.units[0].text) == ("B,2", "zone: B; price: 2")


def test_a_long_section_overlaps_by_a_sentence() -> None:
    """
    A passage that goes on begins with the last sentence of the one before, so that no context is lost.
    """
    text = " ".join(f"Sentence number {number} of this long section." for number in range(40))
    found = split("x.txt", text, 40)

    assert len(found) > 3
    assert all(later.units[0] == earlier.units[-1] for earlier, later in pairwise(found))


def test_markdown_marks_stay_in_the_quote_and_leave_the_text() -> None:
    """
    A quote is the file's own; the answer is readable.
    """
    (passage,) = split("x.md", "Hold **Back** and see [the page](http://x.example/).")

    assert passage.units[0].quote == "Hold **Back** and see [the page](http://x.example/)."
    assert passage.units[0].text == "Hold Back and see the page."


@given(st.text(alphabet='ab #*-|>`.!?\n"1e\u00e9', max_size=300))
def test_every_quote_is_a_slice_of_the_source(text: str) -> None:
    """
    Whatever a Markdown file holds, what is quoted from it stands in it exactly so.
    """
    if not text.strip():
        return
    for passage in split("x.md", text):
        for unit in passage.units:
            assert unit.quote in text


@given(st.text(alphabet="aB.!? \n1", max_size=200))
def test_sentences_lose_nothing_but_space(text: str) -> None:
    """
    Sentences cover all of a text, in order.
    """
    found = [text[start:end] for start, end in sentences.split(text, 0, len(text))]

    assert "".join("".join(found).split()) == "".join(text.split())


def test_abbreviations_and_numbers_end_no_sentence() -> None:
    """
    Only a stop that ends a sentence divides.
    """
    text = "See e.g. the table. It costs approx. 3.50 euros, i.e. little. Ask Dr. Voss!"
    found = [text[start:end] for start, end in sentences.split(text, 0, len(text))]

    assert found == ["See e.g. the table.", "It costs approx. 3.50 euros, i.e. little.", "Ask Dr. Voss!"]

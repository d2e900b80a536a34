"""What a question is understood to ask."""

import pytest
from agora_knowledge_base import questions, terms
from agora_knowledge_base.questions import Part, Wanted


def wanted(question: str, known: str = "") -> Wanted:
    """The terms of a question where the sources hold some words."""
    held = set(terms.of_text(known, "en"))
    return questions.wanted(
        Part(text=question), "en", knows=held.__contains__, corrected=lambda _: None, idf=lambda _: 1.0
    )


def test_words_meet_in_their_stems() -> None:
    """
    Endings, letter case, irregular forms, written numbers and thousands make no difference.
    """
    one = terms.of_text("The LOST refunds, thirty of 1,000", "en")

    assert one == terms.of_text("lose refund thirty 1000", "en")
    assert "30" in one


def test_identifiers_are_found_whole_and_in_parts() -> None:
    """
    `X-Larkspur-Signature` and `maxPageSize` can be asked for by any of their words.
    """
    assert {"x-larkspur-signature", "larkspur", "signatur"} <= set(
        terms.of_text("X-Larkspur-Signature", "en")
    )
    assert {"max", "page", "size"} <= set(terms.of_text("maxPageSize", "en"))


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("What does it cost?", ["What does it cost?"]),
        ("What is the fee and who decides?", ["What is the fee", "who decides?"]),
        ("When does it open? How much is a ticket?", ["When does it open?", "How much is a ticket?"]),
        ("I bought it in May. Can I return it?", ["I bought it in May. Can I return it?"]),
        ("salt and pepper prices", ["salt and pepper prices"]),
    ],
)
def test_a_question_is_divided_into_what_it_asks(query: str, parts: list[str]) -> None:
    """
    Questions are divided at question words, and statements stay with their question.
    """
    assert [part.text for part in questions.parts(query)] == parts


def test_a_part_that_points_back_takes_its_context_along() -> None:
    """
    "How quickly" alone could not be searched.
    """
    _, second = questions.parts("Whom do I tell when a laptop is lost, and how quickly?")

    assert "laptop" in second.whole


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When does it open?", "time"),
        ("How long is the trial?", "time"),
        ("How many users are included?", "number"),
        ("What does the plan cost per month at what price?", "money"),
        ("Who leads support?", "person"),
        ("What is the phone number of support?", "phone"),
        ("How do I reset it?", "action"),
        ("What caused the outage?", "reason"),
        ("Is it allowed?", "anything"),
    ],
)
def test_the_kind_of_answer_is_known(question: str, kind: str) -> None:
    """
    The words of a question say what kind of thing answers it.
    """
    assert questions.expects(question) == kind


def test_a_number_beside_the_counted_thing_answers_best() -> None:
    """
    "How many users" is answered by users, half by other numbers, and not by none.
    """
    asked = ("number", "How many users are included?")

    assert questions.could_answer(*asked, "25 named users") == 1.0  # type: ignore[arg-type]
    assert questions.could_answer(*asked, "Users: 25") == 1.0  # type: ignore[arg-type]
    assert questions.could_answer(*asked, "It costs 9 euros") == questions.HALF  # type: ignore[arg-type]
    assert questions.could_answer(*asked, "Users are included") == 0.0  # type: ignore[arg-type]


def test_names_numbers_and_identifiers_are_specific() -> None:
    """
    What means one thing only must be there; a quantity may differ.
    """
    found = wanted("What does error E99 of the Brewmaster 500 mean after 20 minutes in zone B?")

    assert {"e99", "500", "brewmast", "b"} <= found.specific
    assert "20" not in found.specific

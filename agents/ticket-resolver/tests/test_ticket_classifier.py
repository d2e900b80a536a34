"""Categories: learnt from examples, or told from names and descriptions alone."""

from pathlib import Path

import numpy as np
import pytest
from agora_ticket_resolver import embedding, multilingual, sentiment, training
from agora_ticket_resolver.classifier import Classifier, Label
from agora_ticket_resolver.concepts import sentences_for
from agora_ticket_resolver.labelled import LabelledTicket

EXAMPLES = [
    LabelledTicket(text=text, category=category)
    for category, listed in {
        "shipping": [
            "Where is my parcel?",
            "The delivery is late",
            "Tracking has not moved",
            "Not delivered yet",
        ],
        "billing": [
            "I was charged twice",
            "The invoice is wrong",
            "Send me a receipt",
            "Why is my bill so high?",
        ],
        "access": [
            "I forgot my password",
            "I cannot log in",
            "My account is locked",
            "No login code arrives",
        ],
    }.items()
    for text in listed
]


def label_of(classifier: Classifier, text: str) -> str:
    """The label of a text."""
    return classifier.classify(text, embedding.embed(classifier.settings.model, [text])[0]).label


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("My package still has not arrived", "shipping"),
        ("Meine Rechnung stimmt nicht", "billing"),
        ("Je ne peux plus me connecter à mon compte", "access"),
    ],
)
def test_a_dozen_examples_are_enough_and_carry_over_to_other_languages(text: str, category: str) -> None:
    """
    English examples tell German and French tickets apart.
    """
    assert label_of(training.train(EXAMPLES, []), text) == category


def test_training_twice_gives_the_same_and_survives_saving(tmp_path: Path) -> None:
    """
    The artifact is deterministic, and what is loaded decides as what was trained.
    """
    first, second = training.train(EXAMPLES, []), training.train(EXAMPLES, [])
    first.save(tmp_path)
    loaded = Classifier.load(tmp_path)
    vector = embedding.embed(first.settings.model, ["late again"])[0]

    assert first.classify("late again", vector) == second.classify("late again", vector)
    assert first.classify("late again", vector) == loaded.classify("late again", vector)


def test_names_alone_tell_common_categories() -> None:
    """
    Without any example, a name is understood by what customers usually write under it.
    """
    untrained = training.untrained(
        [Label(name="refundRequests"), Label(name="delivery"), Label(name="login_problems")]
    )

    assert label_of(untrained, "When do I get my money back?") == "refundRequests"
    assert label_of(untrained, "Mein Paket ist nicht angekommen") == "delivery"
    assert sentences_for("zeppelin maintenance") == []


def test_a_description_and_keywords_count() -> None:
    """
    An uncommon category is told by what the taxonomy says of it.
    """
    untrained = training.untrained(
        [
            Label(name="gamma", description="Beekeeping: hives, honey, swarms", keywords=["hive"]),
            Label(name="delta", description="Sailing boats and their rigging"),
        ]
    )

    assert label_of(untrained, "The mast is bent after the storm") == "delta"
    assert label_of(untrained, "Something is wrong with the hive") == "gamma"


def test_a_label_with_one_example_or_none_does_not_break_training() -> None:
    """
    Rare and new labels stay possible answers.
    """
    rare = [*EXAMPLES, LabelledTicket(text="Do you hire people?", category="jobs")]
    trained = training.train(rare, [Label(name="returns", description="Sending an item back")])

    assert {"jobs", "returns"} <= {label.name for label in trained.settings.labels}
    assert label_of(trained, "Are there any job offers? Do you hire?") == "jobs"


def test_the_probabilities_add_up() -> None:
    """
    Scores are a distribution over the labels.
    """
    trained = training.train(EXAMPLES, [])
    found = trained.classify("hello", embedding.embed(trained.settings.model, ["hello"])[0])

    assert sum(found.scores.values()) == pytest.approx(1, abs=0.001)
    assert found.confidence == max(found.scores.values())


@pytest.mark.parametrize("text", ["", "\0\0", "\ufdfa" * 500, "a" * 100_000, "😀" * 300, "\ud800"])
def test_any_text_has_a_finite_vector(text: str) -> None:
    """
    Empty, endless and ill-formed texts are embedded like others.
    """
    vector = multilingual.shared().embed([text])[0]

    assert np.isfinite(vector).all()
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("Thank you so much, the team was wonderful!", 1),
        ("This is the worst service I have ever seen.", -1),
        ("Vielen Dank, ich bin begeistert!", 1),
        ("C'est inadmissible, je suis furieux.", -1),
        ("Il prodotto è arrivato rotto, che delusione.", -1),
        ("O atendimento foi excelente, parabéns!", 1),
        ("No estoy nada contento con el servicio.", -1),
    ],
)
def test_the_mood_is_told_in_several_languages(text: str, sign: int) -> None:
    """
    The head was trained on English and works on what means the same.
    """
    model = embedding.available()

    assert sentiment.of_ticket(embedding.of_ticket(model, text), model) * sign > 0.1

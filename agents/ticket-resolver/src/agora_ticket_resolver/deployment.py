"""What a deployment is made of: trained classifiers and an index, built once and loaded by any worker."""

import asyncio
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import agora
import msgspec

from agora_ticket_resolver import articles, labelled, language
from agora_ticket_resolver.articles import Article, Passage
from agora_ticket_resolver.labelled import LabelledTicket
from agora_ticket_resolver.types import Category, Config

if TYPE_CHECKING:
    from agora_ticket_resolver.classifier import Classifier, Label
    from agora_ticket_resolver.retrieval import Index

PRIORITY_EXAMPLES_MIN = 12
TRUST_HALF = 40
"""With so many rated examples, what was learnt from them counts as much as the cues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the steps work with. `priority` and `index` are None where nothing was given to make them from."""

    category: "Classifier"
    priority: "Classifier | None"
    priority_trust: float
    index: "Index | None"


async def prepare(config: Config, folder: Path, context: agora.PrepareContext) -> None:
    """Train on the examples and index the articles of a configuration.

    Raises:
        InputRejected: examples, taxonomy or articles cannot be used; the place is named.
    """
    _check_languages(config)
    try:
        examples = await _examples(config, context)
        found = await _articles(config, context)
    except labelled.BadExamples as error:
        raise agora.InputRejected("bad_examples", error.detail, error.place) from error
    except articles.BadArticle as error:
        raise agora.InputRejected("bad_article", error.detail, error.place) from error
    context.progress(f"Training on {len(examples)} examples", 0.1)
    await asyncio.to_thread(_train, config, examples, folder)
    passages = [passage for article in found for passage in articles.passages(article)]
    if len(passages) > articles.PASSAGES_MAX:
        raise agora.InputRejected(
            "knowledge_too_large",
            f"The articles have more than {articles.PASSAGES_MAX} passages.",
            "$.knowledge",
        )
    if passages:
        context.progress(f"Indexing {len(passages)} passages of {len(found)} articles", 0.6)
        await asyncio.to_thread(_index, passages, folder / "index")


def load(config: Config, folder: Path) -> Prepared:
    """Read what `prepare` wrote."""
    from agora_ticket_resolver.classifier import Classifier
    from agora_ticket_resolver.retrieval import Index

    trust = msgspec.json.decode((folder / "trust.json").read_bytes(), type=float)
    return Prepared(
        category=Classifier.load(folder / "category"),
        priority=Classifier.load(folder / "priority") if trust else None,
        priority_trust=trust,
        index=Index.load(folder / "index") if (folder / "index").is_dir() else None,
    )


async def health(context: agora.HealthContext) -> dict[str, bool]:
    """Exercise each tool on a sentence whose answer is known."""
    return await asyncio.to_thread(_check_tools)


def _check_tools() -> dict[str, bool]:
    from agora_ticket_resolver import cues, embedding, retrieval, sentiment

    model = embedding.available()
    pleased, angry = embedding.embed(
        model, ["Thank you, wonderful service!", "This is terrible, I am furious."]
    )
    index = retrieval.build(
        articles.passages(
            Article(source="health", title="Passwords", text="To reset your password, open the settings.")
        )
    )
    question = "How do I reset my password?"
    hit = index.search(question, embedding.of_ticket(model, question), "en")[0]
    return {
        "detect_language": language.detect("Guten Tag, wo ist meine Bestellung?").code == "de",
        "sentiment": sentiment.score(pleased, model) > 0 > sentiment.score(angry, model),
        "priority_cues": [cue.name for cue in cues.find("The whole site is down")] == ["outage"],
        "kb_search": hit.score > 0.5,
    }


async def _examples(config: Config, context: agora.PrepareContext) -> list[LabelledTicket]:
    if isinstance(config.examples, str):
        path = await context.files.open(config.examples)
        name = (await context.files.info(config.examples)).name
        return await asyncio.to_thread(labelled.from_file, path, name)
    return labelled.from_records(
        (msgspec.structs.asdict(example) for example in config.examples), "$.examples", "item"
    )


async def _articles(config: Config, context: agora.PrepareContext) -> list[Article]:
    given = [config.knowledge] if isinstance(config.knowledge, str) else config.knowledge
    found: list[Article] = []
    for one in given:
        if isinstance(one, str):
            path = await context.files.open(one)
            info = await context.files.info(one)
            found.extend(await asyncio.to_thread(articles.read, path, info.name))
        else:
            found.append(Article(source=one.id, title=one.title, text=one.body))
    return found


def _train(config: Config, examples: Sequence[LabelledTicket], folder: Path) -> None:
    from agora_ticket_resolver import training

    labels = _labels(config)
    with_category = [example for example in examples if example.category]
    if len({example.category for example in with_category}) >= 2:
        category = training.train(with_category, labels)
    elif len(labels) >= 2:
        category = training.untrained(labels)
    elif labels or with_category:
        raise agora.InputRejected(
            "one_category", "At least two categories are needed, by examples or by taxonomy.", "$.taxonomy"
        )
    else:
        category = training.untrained(_default_labels())
    category.save(folder / "category")
    rated = [
        LabelledTicket(text=example.text, category=example.priority)
        for example in examples
        if example.priority
    ]
    trust = 0.0
    if len(rated) >= PRIORITY_EXAMPLES_MIN and len({example.category for example in rated}) >= 2:
        trust = len(rated) / (len(rated) + TRUST_HALF)
        training.train(rated, []).save(folder / "priority")
    (folder / "trust.json").write_bytes(msgspec.json.encode(trust))


def _index(passages: Sequence[Passage], folder: Path) -> None:
    from agora_ticket_resolver import retrieval

    retrieval.build(passages).save(folder)


def _labels(config: Config) -> "list[Label]":
    from agora_ticket_resolver.classifier import Label

    labels: dict[str, Label] = {}
    for number, one in enumerate(config.taxonomy):
        name = (one if isinstance(one, str) else one.name).strip()
        if not name or name in labels:
            fault = "is named twice" if name else "has no name"
            raise agora.InputRejected("bad_taxonomy", f"A category {fault}.", f"$.taxonomy[{number}]")
        if isinstance(one, str):
            labels[name] = Label(name=name)
        else:
            labels[name] = Label(name=name, description=one.description, keywords=one.keywords)
    return list(labels.values())


def _default_labels() -> "list[Label]":
    from agora_ticket_resolver.classifier import Label

    raw = resources.files(__package__).joinpath("data/taxonomy.toml").read_bytes()
    listed = msgspec.convert(tomllib.loads(raw.decode())["category"], list[Category])
    return [Label(name=one.name, description=one.description, keywords=one.keywords) for one in listed]


def _check_languages(config: Config) -> None:
    try:
        if config.languages:
            language.detector(tuple(dict.fromkeys(code.lower() for code in config.languages)))
    except language.UnknownLanguage as error:
        raise agora.InputRejected("unknown_language", f"{error}.", "$.languages") from error

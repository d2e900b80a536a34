"""What the three agents are given: this project's docs, a messy public table, a batch of tickets."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from agora import Client

from agora_local.settings import PlatformFailed

type Say = Callable[[str], None]

DOCS_MAX = 60
_READY_SECONDS = 180.0

QUESTIONS = (
    "How is a hold placed and when does it lapse?",
    "What happens to a run whose deliverable is empty?",
    "Which command starts the whole platform on one machine?",
    "How does the SDK count the usage of a step?",
    "Who won the football world cup in 1998?",
)
"""The last one is not in the docs: an honest agent says that it does not know, and that costs nothing."""


class DemoRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the demo: where it goes, with what, and what to call it."""

    label: str
    agent: str
    input: Mapping[str, Any]
    deployment: str | None = None


async def prepare(client: Client, checkout: Path, say: Say) -> list[DemoRun]:
    """Upload the input, hire what needs a deployment, and list the runs.

    Raises:
        PlatformFailed: a deployment could not be prepared, or the checkout has no docs.
    """
    return [
        *await _knowledge_base(client, checkout, say),
        *await _data_processor(client, say),
        *await _ticket_resolver(client, say),
    ]


async def _knowledge_base(client: Client, checkout: Path, say: Say) -> list[DemoRun]:
    documents = _documents(checkout)
    if not documents:
        raise PlatformFailed(f"{checkout} has no documents for the knowledge base")
    say(f"knowledge-base: uploading {len(documents)} documents of this project")
    sources = [
        await _upload(client, path, str(path.relative_to(checkout)).replace("/", "--")) for path in documents
    ]
    deployment = await hire(client, "knowledge-base", "query", {"sources": sources}, say)
    return [
        DemoRun(label=question, agent="knowledge-base", input={"query": question}, deployment=deployment)
        for question in QUESTIONS
    ]


async def _data_processor(client: Client, say: Say) -> list[DemoRun]:
    samples, tables = _tables()
    if not tables:
        raise PlatformFailed(f"{samples} holds no table")
    say(f"data-processor: uploading {tables[0].name}, a messy public table")
    table = await _upload(client, tables[0], tables[0].name)
    return [DemoRun(label=f"clean {tables[0].name}", agent="data-processor", input={"file": table})]


async def _ticket_resolver(client: Client, say: Say) -> list[DemoRun]:
    samples = Path(str(files("agora_ticket_resolver").joinpath("samples")))
    lines = (samples / "tickets.jsonl").read_bytes().splitlines()
    tickets = [msgspec.json.decode(line)["input"] for line in lines if line]
    config = msgspec.json.decode((samples / "config.json").read_bytes())
    say(f"ticket-resolver: uploading articles and labelled examples for {len(tickets)} tickets")
    config = await _with_uploads(client, config, samples)
    deployment = await hire(client, "ticket-resolver", "task", config, say)
    return [
        DemoRun(label=ticket["subject"], agent="ticket-resolver", input=ticket, deployment=deployment)
        for ticket in tickets
    ]


async def _with_uploads(client: Client, value: Any, base: Path) -> Any:
    """The configuration with each path of a file beside it replaced by an uploaded file, folders by their files."""
    if isinstance(value, dict):
        return {name: await _with_uploads(client, item, base) for name, item in value.items()}
    if isinstance(value, list):
        found = [await _with_uploads(client, item, base) for item in value]
        return [one for item in found for one in (item if isinstance(item, tuple) else (item,))]
    if isinstance(value, str) and len(value) < 200 and "\n" not in value:
        path = base / value
        if path.is_dir() and value:
            return tuple([await _upload(client, file, file.name) for file in sorted(path.iterdir())])
        if path.is_file():
            return await _upload(client, path, path.name)
    return value


def _documents(checkout: Path) -> list[Path]:
    """This project's own docs, without docs/reference: generated tables of fields are no reading matter."""
    patterns = ("*.md", "docs/*.md", "docs/decisions/*.md", "docs/guides/*.md", "services/*/*.md")
    return sorted(path for pattern in patterns for path in checkout.glob(pattern))[:DOCS_MAX]


def _tables() -> tuple[Path, list[Path]]:
    """Where the data processor's sample tables lie, and the tables."""
    samples = Path(str(files("agora_data_processor").joinpath("samples")))
    kinds = (".csv", ".tsv", ".txt", ".xlsx", ".json")
    return samples, sorted(path for path in samples.iterdir() if path.suffix in kinds)


async def _upload(client: Client, path: Path, name: str) -> str:
    return (await client.files.upload(path, name=name)).id


async def hire(client: Client, package: str, basis: str, config: Mapping[str, Any], say: Say) -> str:
    """Hire a package and wait until its configuration is prepared.

    Raises:
        PlatformFailed: it could not be prepared; says why.
    """
    deployment = await client.deployments.start(
        package, basis=basis, config=config, name=f"demo of {package}"
    )
    say(f"{package}: hired by the {basis} as {deployment.id}; preparing")
    async with asyncio.timeout(_READY_SECONDS):
        while deployment.status == "pending":
            await asyncio.sleep(0.3)
            deployment = await client.deployments.get(deployment.id)
    if deployment.status != "active":
        reason = deployment.error.detail if deployment.error else deployment.status
        raise PlatformFailed(f"{package} could not be prepared: {reason}")
    return deployment.id


def agents_of(runs: Sequence[DemoRun]) -> list[str]:
    """The agents that take part, in order."""
    return list(dict.fromkeys(run.agent for run in runs))

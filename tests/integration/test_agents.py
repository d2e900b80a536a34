"""The platform's own agents, hired and run on real input: outputs that hold together, charges that settle."""

import asyncio
import csv
import io
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.integration.test_path import active
from tests.support.answers import micro, refused
from tests.support.bookkeeping import books, settled
from tests.support.waiting import until

ARTICLES = {
    "refunds.md": "# Refunds\n\nA refund is paid within 14 days of the return of the goods.\n\n"
    "Shipping costs are not refunded.\n",
    "opening.md": "# Opening hours\n\nThe shop is open from 9 to 18 o'clock on weekdays. On Sundays it is closed.\n",
    "warranty.txt": "Warranty\n\nEvery machine has a warranty of 24 months from the day of purchase.\n",
}


async def upload(client: httpx.AsyncClient, name: str, content: bytes) -> str:
    """Upload a file; its id."""
    answer = await client.post("/files", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def run(client: httpx.AsyncClient, target: str, run_input: dict[str, Any]) -> dict[str, Any]:
    """Run a package or a deployment to its charge."""
    path = f"/deployments/{target}" if target.startswith("dep_") else f"/packages/{target}"
    answer = await client.post(f"{path}/execute", json={"input": run_input})
    assert answer.status_code in (200, 202), answer.text
    found = await settled(client, answer.json()["id"])
    assert found["status"] == "succeeded", found["error"]
    return found


async def hire(client: httpx.AsyncClient, package: str, basis: str, config: dict[str, Any]) -> str:
    """Hire a package and wait until it is prepared; the deployment's id."""
    answer = await client.post("/deployments", json={"package": package, "basis": basis, "config": config})
    assert answer.status_code == 201, answer.text
    return str((await active(client, answer.json()["id"]))["id"])


def a_messy_table() -> tuple[str, bytes]:
    """Name and bytes of the public table that ships with the data processor."""
    samples = Path(str(files("agora_data_processor").joinpath("samples")))
    sample = next(path for path in sorted(samples.iterdir()) if path.suffix in (".csv", ".tsv", ".json"))
    return sample.name, sample.read_bytes()


async def test_the_data_processor_accounts_for_every_row(http: httpx.AsyncClient):
    """
    Its sample table comes back clean: rows in = rows out + rejected, the files are there and say the same,
    and one job is charged.
    """
    given = await upload(http, *a_messy_table())
    found = await run(http, "data-processor", {"file": given})
    output = found["output"]
    parts = {
        name: (await http.get(f"/files/{output[name]}/content")).raise_for_status().content
        for name in ("artifact_uri", "csv_uri", "rejected_uri", "report_uri")
    }

    assert output["rows_in"] == output["rows_out"] + output["rejected"]
    assert output["rows_out"] > 0
    assert output["rejected"] == sum(output["rejected_by_reason"].values())
    assert b"PAR1" == parts["artifact_uri"][:4] == parts["artifact_uri"][-4:]
    rows = list(csv.reader(io.StringIO(parts["csv_uri"].decode("utf-8-sig"))))
    assert output["rows_out"] + 1 == len(rows)
    assert {len(output["schema"])} == {len(row) for row in rows}
    assert isinstance(msgspec.json.decode(parts["report_uri"]), dict)
    assert 1_000_000 == micro(found["cost"])
    produced = (await http.get("/files", params={"run": found["id"]})).json()["items"]
    assert {output[name] for name in parts} <= {file["id"] for file in produced}


async def test_the_data_processor_by_the_gigabyte(http: httpx.AsyncClient):
    """
    Hired by the gigabyte, a run is quoted by the size of its file and charged for exactly its bytes.
    """
    name, table = a_messy_table()
    deployment = await hire(http, "data-processor", "gb", {})
    given = {"file": await upload(http, name, table)}
    estimated = await http.post(f"/deployments/{deployment}/estimate", json={"input": given})
    found = await run(http, deployment, given)
    receipt = (await http.get(f"/runs/{found['id']}/receipt")).json()
    owed = round(Fraction(len(table), 10**9) / 2 * 10**6)

    assert owed == micro(estimated.json()["quote"]["amount"]) == micro(found["cost"])
    (line,) = receipt["lines"]
    assert ("gigabytes by gb", Fraction(len(table), 10**9)) == (
        line["description"],
        Fraction(line["quantity"]),
    )
    assert [] == receipt["differences"]


async def test_the_knowledge_base_answers_from_its_files_and_says_when_it_cannot(http: httpx.AsyncClient):
    """
    Three files are indexed once; an answer quotes its source to the letter and costs a query, "I don't know"
    costs nothing.
    """
    sources = [await upload(http, name, text.encode()) for name, text in ARTICLES.items()]
    deployment = await hire(http, "knowledge-base", "query", {"sources": sources})
    answered, other, unknown = await asyncio.gather(
        run(http, deployment, {"query": "How long is the warranty of a machine?"}),
        run(http, deployment, {"query": "Within how many days is a refund paid?"}),
        run(http, deployment, {"query": "Which planet has the most moons?"}),
    )
    found = await books(http)

    for one, name, fact in ((answered, "warranty.txt", "24 months"), (other, "refunds.md", "14 days")):
        output = one["output"]
        assert output["answered"], output
        assert fact in output["answer"]
        cited = output["citations"][0]
        assert name in cited["source"]
        assert cited["quote"] in ARTICLES[name]
        assert ("full", 100_000) == (one["deliverable"], micro(one["cost"]))
    assert (False, [], "empty", 0) == (
        unknown["output"]["answered"],
        unknown["output"]["citations"],
        unknown["deliverable"],
        micro(unknown["cost"]),
    )
    assert (1_000_000_000 - 200_000, 0) == (found.credit, found.held)


async def test_the_ticket_resolver_answers_or_hands_over_with_a_reason(http: httpx.AsyncClient):
    """
    A ticket that the articles answer is resolved with a citation; one that asks for a person is handed over;
    both say category, priority and language.
    """
    knowledge = [await upload(http, name, text.encode()) for name, text in ARTICLES.items()]
    taxonomy = ["refunds", "warranty", "opening hours"]
    deployment = await hire(http, "ticket-resolver", "task", {"taxonomy": taxonomy, "knowledge": knowledge})
    easy, person = await asyncio.gather(
        run(
            http,
            deployment,
            {"subject": "Warranty", "body": "How many months of warranty does my machine have?"},
        ),
        run(
            http,
            deployment,
            {
                "subject": "Let me speak to a human",
                "body": "I want to talk to a real person, please have a manager call me back.",
            },
        ),
    )
    found = await books(http)

    assert easy["output"]["resolved"], easy["output"]["explanation"]
    assert "24 months" in easy["output"]["response"]
    assert any(cited["quote"] in ARTICLES["warranty.txt"] for cited in easy["output"]["citations"])
    assert (True, False) == (person["output"]["escalate"], person["output"]["resolved"])
    assert person["output"]["escalation_reason"]
    for one in (easy, person):
        assert one["output"]["category"] in taxonomy
        assert "en" == one["output"]["language"]
        assert one["output"]["priority"] in ("low", "medium", "high", "urgent")
    assert 1_000_000_000 - micro(easy["cost"]) - micro(person["cost"]) == found.credit
    assert (500_000, 0) == (micro(easy["cost"]), found.held)


async def test_the_ticket_resolver_learns_from_labelled_tickets(http: httpx.AsyncClient):
    """
    With labelled examples in a file, tickets like them get their category.
    """
    examples = [
        {"subject": subject, "body": body, "category": category}
        for category, pairs in {
            "billing": (
                ("Invoice wrong", "My invoice shows a wrong amount"),
                ("Charged twice", "I was charged twice on my credit card"),
                ("Refund", "Please refund the payment on my last invoice"),
                ("VAT", "The VAT number is missing on the invoice"),
            ),
            "login": (
                ("Cannot log in", "My password is not accepted any more"),
                ("Reset", "The password reset mail does not arrive"),
                ("Locked out", "My account is locked after three login attempts"),
                ("Two factor", "The login code on my phone is refused"),
            ),
        }.items()
        for subject, body in pairs
    ]
    lines = b"\n".join(msgspec.json.encode(example) for example in examples)
    config = {"examples": await upload(http, "examples.jsonl", lines)}
    deployment = await hire(http, "ticket-resolver", "task", config)
    billing, login = await asyncio.gather(
        run(http, deployment, {"subject": "Invoice", "body": "The amount on my invoice was charged twice"}),
        run(http, deployment, {"subject": "Login", "body": "I cannot log in, the password is refused"}),
    )

    assert ("billing", "login") == (billing["output"]["category"], login["output"]["category"])


async def test_a_deployment_that_cannot_be_prepared_says_why(http: httpx.AsyncClient):
    """
    A knowledge base of a file that holds no text ends as failed with the reason, and takes no runs.
    """
    broken = await upload(http, "broken.pdf", b"%PDF-1.7 this is no document")
    config = {"sources": [broken], "unreadable": "reject"}
    hired = await http.post(
        "/deployments", json={"package": "knowledge-base", "basis": "query", "config": config}
    )
    path = f"/deployments/{hired.json()['id']}"
    found = (await until(lambda: http.get(path), lambda seen: seen.json()["status"] != "pending")).json()
    refusal = await http.post(f"{path}/execute", json={"input": {"query": "Anything?"}})

    assert "failed" == found["status"]
    assert "broken.pdf" == found["error"]["place"]
    refused(refusal, "not_executable", "damaged")
    assert [] == (await books(http)).runs

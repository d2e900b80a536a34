"""`agora chat` and `agora memory`: converse with an agent; see and delete what agents keep."""

from typing import Annotated

import typer

from agora.cli import show
from agora.cli.customer import AsJson, Cursor, Key, Url, call
from agora.client import Client
from agora.client.conversations import ConversationMessage

chat_app = typer.Typer(help="Converse with an agent.", no_args_is_help=True)
memory_app = typer.Typer(help="What agents remember: list and delete.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The conversation's id (conv_…).")]
EntryId = Annotated[str, typer.Argument(help="The entry's id (mem_…).")]


@chat_app.command("start")
def start(
    target: Annotated[str, typer.Argument(help="A package's id, or a deployment's (dep_…).")],
    title: Annotated[str, typer.Option(help="A title of your own.")] = "",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Begin a conversation and print its id."""
    made = call(url, key, lambda client: client.conversations.start(target, title=title))
    if as_json:
        show.json_value(made)
    else:
        show.out.print(made.id)


@chat_app.command("say")
def say(
    conversation: Id,
    content: Annotated[str, typer.Argument(help="The message.")],
    idempotency_key: Annotated[str | None, typer.Option(help="The same key says it once.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Post a message, wait for the reply and print it; end with 1 when there is none."""
    reply = call(
        url,
        key,
        lambda client: client.conversations.say(conversation, content, idempotency_key=idempotency_key),
    )
    if as_json:
        show.json_value(reply)
    else:
        show.out.print(reply.content, markup=False)
    if reply.error is not None:
        raise typer.Exit(show.FAILED)


@chat_app.command("list")
def listed(cursor: Cursor = None, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List the conversations, the one with the newest message first."""
    page = call(url, key, lambda client: client.conversations.list(cursor=cursor, limit=200))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("conversation", "with", "messages", "title"),
        [(one.id, one.deployment or one.package, str(one.messages), one.title) for one in page.items],
    )
    show.more(page.next_cursor)


@chat_app.command("show")
def shown(conversation: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Print a conversation's messages, oldest first."""

    async def everything(client: Client) -> list[ConversationMessage]:
        found: list[ConversationMessage] = []
        cursor: str | None = None
        while True:
            page = await client.conversations.messages(conversation, cursor=cursor, limit=200)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    messages = call(url, key, everything)
    if as_json:
        show.json_value(messages)
        return
    for message in messages:
        show.out.print(f"{message.role}: {message.content}", markup=False)


@memory_app.command("list")
def remembered(
    package: Annotated[str | None, typer.Option(help="Only this package's agent.")] = None,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List what agents keep for you, what was written last first."""
    page = call(url, key, lambda client: client.memory.list(package=package, cursor=cursor, limit=200))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("entry", "package", "key", "what"),
        [
            (one.id, one.package, one.key or "", (one.text or str(one.value)).replace("\n", " ")[:60])
            for one in page.items
        ],
    )
    show.more(page.next_cursor)


@memory_app.command("remove")
def remove(entry: EntryId, url: Url = None, key: Key = None) -> None:
    """Delete one entry: the agent does not find it any more."""
    call(url, key, lambda client: client.memory.delete(entry))
    show.out.print(f"{entry} removed")


@memory_app.command("forget")
def forget(
    package: Annotated[str, typer.Argument(help="The package's id.")], url: Url = None, key: Key = None
) -> None:
    """Delete everything that a package's agent keeps for you."""
    count = call(url, key, lambda client: client.memory.forget(package))
    show.out.print(f"{count} removed")

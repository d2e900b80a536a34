"""A fake of the LLM vendors, at their wire: it speaks as OpenAI, Anthropic, Google, Groq and Ollama do.

In a test: `async with serving() as wire: ...`, with `wire.answer` set to what it shall say. As a process of its own, for
benchmarks: `python -m tests.support.llm_wire --port 8900`, which answers everything with `Reply()`.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

VENDOR_NAMES = ("openai", "anthropic", "google", "groq", "ollama")


@dataclass(frozen=True)
class Asked:
    """One request: to whom, for which model, under which key, with what."""

    vendor: str
    model: str
    key: str
    body: dict[str, Any]
    streamed: bool


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a vendor answers.

    `pieces` are the text as it is streamed; `tool` is the name of a tool it calls and the JSON of its arguments;
    `usage` the tokens in and out, None where nothing is reported. `breaks_after` pieces the connection is cut;
    `unfinished` ends in good form but without saying that it ended. `garbage` is sent instead of an answer.
    """

    pieces: tuple[str, ...] = ("Hello", " to you")
    tool: tuple[str, str] | None = None
    usage: tuple[int, int] | None = (11, 7)
    cached_tokens: int = 0
    status: int = 200
    retry_after: str | None = None
    hangs: bool = False
    delay_seconds: float = 0.0
    breaks_after: int | None = None
    unfinished: bool = False
    cut_off: bool = False
    garbage: bytes | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


@dataclass
class Wire:
    """The fake's address, what it answers, and what it was asked."""

    url: str = ""
    answer: Callable[[Asked], Reply] | Reply = field(default_factory=Reply)
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    at_once_most: int = 0
    _first: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_asked(self) -> None:
        """Return when something has been asked."""
        await self._first.wait()

    def note(self, asked: Asked) -> None:
        """Keep a request."""
        self.asked.append(asked)
        self._first.set()

    def environment(self, *vendors: str) -> dict[str, str]:
        """What switches these vendors on, at the fake's address."""
        found: dict[str, str] = {}
        for vendor in vendors:
            if vendor == "ollama":
                found["OLLAMA_HOST"] = self.url
            else:
                # Groq's own path comes after its address, the others' starts with a version.
                found[f"{vendor.upper()}_API_KEY"] = f"key-of-{vendor}"
                found[f"{vendor.upper()}_BASE_URL"] = f"{self.url}/{vendor}"
        return found

    def reply_to(self, asked: Asked) -> Reply:
        """What it answers to a request."""
        return self.answer if isinstance(self.answer, Reply) else self.answer(asked)


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[Wire]:
    """A fake that listens for the time inside."""
    wire = Wire()
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _serve(wire, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", port, limit=1 << 26)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()


async def _serve(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.split("\r\n")
        path = request_line.split(" ")[1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = json.loads(await _body(reader, headers) or b"{}")
        asked = _asked(path, headers, body)
        wire.note(asked)
        wire.at_once += 1
        wire.at_once_most = max(wire.at_once_most, wire.at_once)
        try:
            if not await _answer(wire.reply_to(asked), asked, path.partition("?")[0], writer):
                return
        finally:
            wire.at_once -= 1


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    found = b""
    while size := int(await reader.readline(), 16):
        found += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return found


def _asked(path: str, headers: dict[str, str], body: dict[str, Any]) -> Asked:
    plain = path.partition("?")[0]
    vendor = "ollama" if plain.startswith("/api/") else plain.split("/")[1]
    key = (
        headers.get("authorization", "").removeprefix("Bearer ")
        or headers.get("x-api-key", "")
        or headers.get("x-goog-api-key", "")
    )
    model = body.get("model") or plain.rpartition("models/")[2].partition(":")[0]
    streamed = bool(body.get("stream", vendor == "ollama")) or "streamGenerateContent" in plain
    return Asked(vendor=vendor, model=model, key=key, body=body, streamed=streamed)


async def _answer(reply: Reply, asked: Asked, path: str, writer: asyncio.StreamWriter) -> bool:
    """Write the answer. Returns whether the connection goes on."""
    if reply.delay_seconds:
        await asyncio.sleep(reply.delay_seconds)
    if reply.hangs:
        await asyncio.sleep(3600)
    if reply.status != 200:
        error = json.dumps({"error": {"message": "no", "type": "error", "code": reply.status}}).encode()
        extra = "" if reply.retry_after is None else f"retry-after: {reply.retry_after}\r\n"
        _whole(writer, error, status=reply.status, extra=extra)
    elif reply.garbage is not None:
        _whole(writer, reply.garbage)
    elif "embed" in path.lower():
        _whole(writer, json.dumps(_embedding(reply, asked, path)).encode())
    elif asked.streamed:
        return await _stream(reply, asked, path, writer)
    else:
        _whole(writer, json.dumps(_message(reply, asked, path)).encode())
    await writer.drain()
    return True


def _whole(writer: asyncio.StreamWriter, body: bytes, *, status: int = 200, extra: str = "") -> None:
    head = (
        f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    )
    writer.write(head.encode() + body)


async def _stream(reply: Reply, asked: Asked, path: str, writer: asyncio.StreamWriter) -> bool:
    kind = "application/x-ndjson" if asked.vendor == "ollama" else "text/event-stream"
    writer.write(f"HTTP/1.1 200 X\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for number, event in enumerate(_events(reply, asked, path)):
        if reply.breaks_after is not None and number >= reply.breaks_after:
            await writer.drain()
            return False
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _events(reply: Reply, asked: Asked, path: str) -> Iterator[bytes]:
    if path.endswith("/messages"):
        for event in _anthropic_events(reply):
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
    elif asked.vendor == "ollama":
        for event in _ollama_events(reply):
            yield json.dumps(event).encode() + b"\n"
    elif "GenerateContent" in path:
        for event in _google_events(reply):
            yield b"data: " + json.dumps(event).encode() + b"\r\n\r\n"
    else:
        for event in _openai_events(reply, asked):
            yield b"data: " + json.dumps(event).encode() + b"\n\n"
        if not reply.unfinished:
            yield b"data: [DONE]\n\n"


# --- OpenAI, Groq and everything compatible ------------------------------------------------------


def _openai_usage(reply: Reply) -> dict[str, Any] | None:
    if reply.usage is None:
        return None
    sent, made = reply.usage
    details = {"cached_tokens": reply.cached_tokens}
    return {
        "prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made, "prompt_tokens_details": details
    }  # fmt: skip


def _openai_tool(reply: Reply) -> list[dict[str, Any]]:
    assert reply.tool is not None
    name, arguments = reply.tool
    return [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    ]


def _openai_ended(reply: Reply) -> str:
    return "length" if reply.cut_off else "tool_calls" if reply.tool else "stop"


def _openai_events(reply: Reply, asked: Asked) -> Iterator[dict[str, Any]]:
    def chunk(delta: dict[str, Any], ended: str | None = None) -> dict[str, Any]:
        return {
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": asked.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": ended}],
        }  # fmt: skip

    for piece in reply.pieces:
        yield chunk({"role": "assistant", "content": piece})
    if reply.tool:
        yield chunk({"role": "assistant", "tool_calls": _openai_tool(reply)})
    if reply.unfinished:
        return
    usage = _openai_usage(reply)
    last = chunk({}, _openai_ended(reply))
    if asked.vendor == "groq":
        yield last | ({"x_groq": {"id": "x", "usage": usage}} if usage else {})
        return
    yield last
    if usage is not None and (asked.body.get("stream_options") or {}).get("include_usage"):
        yield chunk({}) | {"choices": [], "usage": usage}


def _openai_message(reply: Reply, asked: Asked) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.tool:
        message["tool_calls"] = _openai_tool(reply)
    usage = _openai_usage(reply)
    ended = None if reply.unfinished else _openai_ended(reply)
    return {
        "id": "c", "object": "chat.completion", "created": 1, "model": asked.model,
        "choices": [{"index": 0, "message": message, "finish_reason": ended}],
    } | ({"usage": usage} if usage else {})  # fmt: skip


# --- Anthropic -----------------------------------------------------------------------------------


def _anthropic_usage(reply: Reply) -> dict[str, int]:
    sent, made = reply.usage or (0, 0)
    return {
        "input_tokens": sent - reply.cached_tokens, "cache_read_input_tokens": reply.cached_tokens,
        "cache_creation_input_tokens": 0, "output_tokens": made,
    }  # fmt: skip


def _anthropic_ended(reply: Reply) -> str:
    return "max_tokens" if reply.cut_off else "tool_use" if reply.tool else "end_turn"


def _anthropic_events(reply: Reply) -> Iterator[dict[str, Any]]:
    usage = _anthropic_usage(reply)
    started: dict[str, Any] = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage | {"output_tokens": min(1, usage["output_tokens"])},
    }  # fmt: skip
    yield {"type": "message_start", "message": started}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for piece in reply.pieces:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    if reply.tool:
        block = {"type": "tool_use", "id": "call_1", "name": reply.tool[0], "input": {}}
        yield {"type": "content_block_start", "index": 1, "content_block": block}
        delta = {"type": "input_json_delta", "partial_json": reply.tool[1]}
        yield {"type": "content_block_delta", "index": 1, "delta": delta}
        yield {"type": "content_block_stop", "index": 1}
    if reply.unfinished:
        return
    ended = {"stop_reason": _anthropic_ended(reply), "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": usage}
    yield {"type": "message_stop"}


def _anthropic_message(reply: Reply) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}]
    if reply.tool:
        arguments = json.loads(reply.tool[1])
        content.append({"type": "tool_use", "id": "call_1", "name": reply.tool[0], "input": arguments})
    return {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": None if reply.unfinished else _anthropic_ended(reply), "stop_sequence": None,
        "usage": _anthropic_usage(reply),
    }  # fmt: skip


# --- Google --------------------------------------------------------------------------------------


def _google_part(parts: list[dict[str, Any]], reply: Reply, *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    found: dict[str, Any] = {"candidates": [candidate], "modelVersion": "m"}
    if last and not reply.unfinished:
        candidate["finishReason"] = "MAX_TOKENS" if reply.cut_off else "STOP"
        sent, made = reply.usage or (0, 0)
        found["usageMetadata"] = {
            "promptTokenCount": sent, "candidatesTokenCount": made, "totalTokenCount": sent + made,
            "cachedContentTokenCount": reply.cached_tokens,
        }  # fmt: skip
    return found


def _google_tool(reply: Reply) -> list[dict[str, Any]]:
    if reply.tool is None:
        return []
    return [{"functionCall": {"name": reply.tool[0], "args": json.loads(reply.tool[1])}}]


def _google_events(reply: Reply) -> Iterator[dict[str, Any]]:
    for piece in reply.pieces[:-1]:
        yield _google_part([{"text": piece}], reply, last=False)
    final = [{"text": piece} for piece in reply.pieces[-1:]]
    yield _google_part(final + _google_tool(reply), reply, last=True)


# --- Ollama --------------------------------------------------------------------------------------


def _ollama_events(reply: Reply) -> Iterator[dict[str, Any]]:
    base = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False}
    for piece in reply.pieces:
        yield base | {"message": {"role": "assistant", "content": piece}}
    if reply.tool:
        call = {"function": {"name": reply.tool[0], "arguments": json.loads(reply.tool[1])}}
        yield base | {"message": {"role": "assistant", "content": "", "tool_calls": [call]}}
    if reply.unfinished:
        return
    sent, made = reply.usage or (0, 0)
    yield base | {
        "message": {"role": "assistant", "content": ""}, "done": True,
        "done_reason": "length" if reply.cut_off else "stop", "prompt_eval_count": sent, "eval_count": made,
    }  # fmt: skip


# --- whole answers -------------------------------------------------------------------------------


def _message(reply: Reply, asked: Asked, path: str) -> dict[str, Any]:
    if path.endswith("/messages"):
        return _anthropic_message(reply)
    if asked.vendor == "ollama":
        whole = list(_ollama_events(reply))
        return whole[-1] | {"message": {"role": "assistant", "content": reply.text}}
    if "generateContent" in path:
        return _google_part([{"text": reply.text}, *_google_tool(reply)], reply, last=True)
    return _openai_message(reply, asked)


def _embedding(reply: Reply, asked: Asked, path: str) -> dict[str, Any]:
    if asked.vendor == "ollama":
        return {"model": "m", "embeddings": [[0.6, 0.8] for _ in asked.body["input"]]}
    if asked.vendor == "google":
        return {"embeddings": [{"values": [0.6, 0.8]} for _ in asked.body["requests"]]}
    data = [
        {"object": "embedding", "index": place, "embedding": [0.6, 0.8]}
        for place, _ in enumerate(asked.body["input"])
    ]
    usage = (
        {}
        if reply.usage is None
        else {"usage": {"prompt_tokens": reply.usage[0], "total_tokens": reply.usage[0]}}
    )
    return {"object": "list", "model": asked.model, "data": data} | usage


async def _main(port: int) -> None:
    async with serving(port) as wire:
        print(wire.url, flush=True)
        while True:
            # What was asked is for tests to look at; here it would only grow.
            await asyncio.sleep(1)
            wire.asked.clear()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="llm_wire", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args().port))

"""`NormalizeMiddleware`, message by message: what passes, what is held, what is edited."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from streamnorm import SSENormalizer, StreamFault
from streamnorm._engine import Engine
from streamnorm.integrations import _body
from streamnorm.integrations.asgi import NormalizeMiddleware
from streamnorm.upstream.streams import STREAMS, BundledStream

from ..aio import Time, run
from ..helpers import DONE, chunk, event, random_cuts, reads
from .asgi_app import BODY, END, Message, Server, body, exchange, pieces, scope, start

ROLE = event(chunk({"role": "assistant", "content": ""}))
COMMENT = b": OPENROUTER PROCESSING\n\n"
THOUGHT = event(chunk({"reasoning": "why"}))
NORMAL = event(chunk({"reasoning_content": "why"}))
TEXT = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))
CALL = event(
    chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]})
)


# What is not ours. ------------------------------------------------------------------

HINT = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
DEBUG = {"type": "http.response.debug", "info": {"template": "t"}}
PUSH = {"type": "http.response.push", "path": "/a", "headers": []}
TRAILERS = {"type": "http.response.trailers", "headers": [(b"x-a", b"b")], "more_trailers": False}
FILE = {"type": "http.response.pathsend", "path": "/srv/recorded.sse"}


@pytest.mark.parametrize(
    ("messages", "method"),
    [
        ([start("application/json", content_length="2"), body(b"{}", more=False)], "POST"),
        ([start("text/plain"), body(THOUGHT), END], "POST"),
        ([start(status=400), body(THOUGHT), END], "POST"),
        ([start(status=503, retry_after="3"), body(b"data: x\n\n"), END], "POST"),
        ([start(content_encoding="gzip", content_length="3"), body(b"\x1f\x8b\x08"), END], "POST"),
        ([start(status=204), END], "POST"),
        ([start(content_length="99"), END], "HEAD"),
        ([start(content_length="99"), FILE], "GET"),
        ([{"type": "http.response.start", "status": 200}, {"type": BODY}], "GET"),
        ([HINT, DEBUG, start("text/html"), PUSH, body(b"<p>"), END], "GET"),
        ([{**start("text/plain"), "trailers": True}, body(b"a", more=False), TRAILERS], "GET"),
        ([body(b"before the start")], "GET"),
    ],
)
def test_other_responses_pass_message_by_message(messages: list[Message], method: str) -> None:
    server = run(exchange(messages, scope(method)))
    if FILE in messages:  # its head was held until the file said that there is no body
        assert server.sent == messages
        return
    assert len(server.sent) == len(messages)
    assert all(sent is given for sent, given in zip(server.sent, messages, strict=True))
    assert server.before == [*range(1, len(messages) + 1)]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scopes_are_the_apps(kind: str) -> None:
    seen: list[Any] = []

    async def app(*given: Any) -> None:
        seen.extend(given)

    given = ({"type": kind}, object(), object())
    run(NormalizeMiddleware(app)(*given))  # type: ignore[arg-type]
    assert all(one is other for one, other in zip(seen, given, strict=True))


def test_only_some_requests() -> None:
    asked: list[Any] = []

    def only(request: Any) -> bool:
        asked.append(request["path"])
        return bool(request["path"] == "/mine")

    messages = pieces(THOUGHT, TEXT, DONE)
    server = run(exchange(messages, scope(path="/other"), only=only))
    assert server.sent == messages
    server = run(exchange(messages, scope(path="/mine"), only=only))
    assert server.body == NORMAL + TEXT + DONE
    assert asked == ["/other", "/mine"]


OTHERS = {
    "mcp": b'event: message\r\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\r\n\r\n',
    "responses": b'event: response.created\ndata: {"type":"response.created"}\n\n',
    "messages": b': x\n\nevent: message_start\ndata: {"type":"message_start"}\n\n',
    "a refused call": b'data: {"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}\n\n',
    "an error of Messages": b'event: error\ndata: {"type":"error","error":{"type":"x"}}\n\n',
    "an error of Responses": b'event: error\ndata: {"type":"error","code":"x","message":"m"}\n\n',
    "text": b"\xef\xbb\xbfdata: tick 1\r\rdata: tick 2\r\r",
    "html": b"retry: 5\n\nevent: m\ndata: <div>\ndata: x</div>\n\n",
    "a list": b"event: ready\ndata:\n\ndata: [1]\n\n",
    "null": b"event: end\ndata: null\n\n",
    "choices of another kind": b'data: {"choices":null,"error":null}\n\n',
    "no blank line": b'id: 7\ndata: {"a":1}',
}
# (Their first event, and whether they are one where nothing says what was asked for.)
CHATS = {
    "a chunk": (THOUGHT, 200),
    "a chunk over two lines": (b'data: {"choices":\ndata: []}\n\n', 502),
    "an error": (b'data: {"error":{"message":"slow","code":429}}\n\n', 429),
    "an error of another shape": (b'data: {"object":"error","message":"no","type":"x"}\n\n', 502),
    "a bare error": (b'{"error":{"message":"slow","code":429}}', 429),
    "a marker": (DONE, 502),
    "a page": (b"\n<!DOCTYPE html>" + b"x" * 300 + b"\n\ndata: 1\n\n", 502),
    "comments": (b": x\n\n: y\n\nretry: 5\n\n", 502),
    "nothing": (b"", 502),
    "gzip": (b"\x1f\x8b\x08\x00", 502),
}


def ways_to_cut(whole: bytes) -> list[list[bytes]]:
    return [[whole], reads(whole, 1), *(random_cuts(whole, seed) for seed in range(3, 8))]


@pytest.mark.parametrize("first", OTHERS.values(), ids=OTHERS)
def test_other_streams_are_the_same_however_they_are_cut(engine: Engine, first: bytes) -> None:
    """To the header that counts the bytes, and with what looks like a chat's error behind."""
    rest = b"" if first.endswith(b"}") else b'data: {"error":{"message":"mine"}}\n\n'
    whole = first + rest
    head = start(content_length=str(len(whole)), etag='"a"')
    for cut in ways_to_cut(whole):
        messages = [head, *map(body, cut), END]
        server = run(exchange(messages, scope(path="/events"), _engine_module=engine))
        assert server.body == whole
        assert server.headers["content-length"] == str(len(whole))
        assert server.headers["etag"] == '"a"'


@pytest.mark.parametrize(("first", "status"), CHATS.values(), ids=CHATS)
def test_chat_completions_are_the_same_however_they_are_cut(
    engine: Engine, first: bytes, status: int
) -> None:
    whole = first + (TEXT + DONE if status == 200 else b"")
    told = set()
    for cut in ways_to_cut(whole):
        server = run(exchange(pieces(*cut), scope(path="/events"), _engine_module=engine))
        assert server.status == status
        told.add(server.body)
    assert len(told) == 1
    if status == 200:
        assert told == {NORMAL + TEXT + DONE}


@pytest.mark.parametrize(
    ("lines", "is_chat"),
    [
        (b'{"a":1}\n{"b":2}\n', False),
        (b"\n[1]\n", False),
        (b'"x"', False),
        (b"no JSON\n{}", False),
        (b'{"choices":[]}\n', True),
        (b'{"error":"no such model"}\n', True),
    ],
)
def test_lines_of_something_else(engine: Engine, lines: bytes, is_chat: bool) -> None:
    for cut in ways_to_cut(lines):
        messages = [start("application/x-ndjson"), *map(body, cut), END]
        server = run(exchange(messages, scope(path="/export"), _engine_module=engine))
        assert (server.status >= 400) is is_chat
        assert is_chat or server.body == lines


@pytest.mark.parametrize("rest", [b'": 1}\n\ndata: x\n\n', b'":[],"a":1}\n\n' + TEXT + DONE])
def test_what_a_limit_lets_go_before_the_first_event(engine: Engine, rest: bytes) -> None:
    """Comments go out, half an event does not; nothing is lost or doubled, of either sort."""
    idle = [b": hi\n\n", b"retry: 5\r", b"\n\r\n", b": half", b" a comment\n"]
    half = b'data: {"choices'
    messages = pieces(*idle, half, *reads(rest, 7))
    request = scope(path="/events")
    server = run(exchange(messages, request, peek_bytes=1, _engine_module=engine))
    assert server.body == b"".join(idle) + half + rest
    before = [message["body"] for message in server.sent[1:6]]
    assert before[:2] == [b": hi\n\n", b"retry: 5\r\n\r\n"]
    assert b": half a comment\n" in before


@pytest.mark.parametrize("name", ["mcp", "responses", "messages"])
@pytest.mark.parametrize("cut", [0, 3, 25])
def test_streams_of_other_events_pass_as_they_are(engine: Engine, name: str, cut: int) -> None:
    first = OTHERS[name]
    # None of them ends as a chat completion does, and one has an error of its own.
    rest = b'data: {"error":{"message":"mine"}}\n\ndata: {"half":'
    sent = [body(first[:cut]), body(first[cut:]), body(rest), END]
    request = scope(path="/events")
    server = run(exchange([start(), *sent], request, _engine_module=engine))
    assert (server.status, server.body) == (200, first + rest)
    # It is out before the next piece comes.
    assert server.before[:4] == [0, 0, 2, 3]


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "/v2/completions"])
def test_where_a_chat_completion_was_asked_for_other_events_are_none(path: str) -> None:
    sent = pieces(OTHERS["mcp"], OTHERS["responses"], OTHERS["messages"])
    server = run(exchange(sent, scope(path=path)))
    assert server.body.endswith(b'"blame":"transport"}}}\n\n')
    server = run(exchange(sent, scope(path="/events"), only=lambda _: True))
    assert server.body.endswith(b'"blame":"transport"}}}\n\n')


def test_a_chat_completion_is_one_wherever_it_comes_from() -> None:
    request = scope(path="/events")
    server = run(exchange(pieces(THOUGHT, TEXT, DONE), request))
    assert server.body == NORMAL + TEXT + DONE
    assert run(exchange(pieces(b": x\n\n"), request)).status == 502


def test_messages_that_are_no_body_go_out_while_the_head_is_held() -> None:
    server = run(exchange([HINT, start(), PUSH, DEBUG, body(TEXT), body(DONE, more=False)]))
    kinds = [message["type"].removeprefix("http.response.") for message in server.sent]
    assert kinds == ["early_hint", "push", "debug", "start", "body", "body"]
    assert server.before == [1, 1, 2, 3, 5, 6]


def test_no_framework_is_imported() -> None:
    code = (
        "import sys, streamnorm.integrations.asgi\n"
        "found = {'starlette', 'fastapi', 'anyio', 'httpx', 'uvicorn'} & {*sys.modules}\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What is held back. -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "options"),
    [(TEXT, {}), (CALL, {}), (THOUGHT, {"peek_reasoning": True})],
    ids=["text", "tool call", "reasoning"],
)
def test_holds_back_up_to_the_first_visible_event(
    engine: Engine, first: bytes, options: dict[str, Any]
) -> None:
    hidden = [ROLE, COMMENT, *([] if options else [THOUGHT])]
    messages = pieces(*hidden, first, TEXT, FINISH, DONE)
    server = run(exchange(messages, _engine_module=engine, **options))
    held = 1 + len(hidden)
    assert server.before == [0] * held + [2, 3, 4, 5, 6]
    expected = b"".join([*hidden, first, TEXT, FINISH, DONE]).replace(THOUGHT, NORMAL)
    assert server.body == expected


def test_holds_no_more_bytes_than_it_may(engine: Engine) -> None:
    limit = len(THOUGHT * 3)
    messages = pieces(*[THOUGHT] * 5, TEXT, DONE)
    server = run(exchange(messages, peek_bytes=limit, _engine_module=engine))
    assert server.before == [0, 0, 0, 2, 3, 4, 5, 6, 7]
    assert server.body == NORMAL * 5 + TEXT + DONE


def test_holds_nothing_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    monkeypatch.setattr(_body, "monotonic", time)

    def messages() -> Iterator[Message]:
        yield start()
        yield body(ROLE)
        time.now += 29
        yield body(COMMENT)
        time.now += 1
        yield body(COMMENT)
        yield body(TEXT + DONE, more=False)

    server = run(exchange(messages()))
    assert server.before == [0, 0, 0, 2, 3]
    server = run(exchange(messages(), peek_timeout=None))
    assert server.before == [0, 0, 0, 0, 2]


@pytest.mark.parametrize("reasoning", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
@pytest.mark.parametrize("cut", ["events", "bytes", "random", "one message"])
def test_gives_the_bytes_of_the_normalizer(
    engine: Engine, stream: BundledStream, cut: str, reasoning: Any
) -> None:
    whole = b"".join(stream.events)
    cuts = {
        "events": list(stream.events),
        "bytes": reads(whole, 1),
        "random": random_cuts(whole, 5),
        "one message": [whole],
    }
    server = run(exchange(pieces(*cuts[cut]), reasoning=reasoning, _engine_module=engine))
    normalizer = SSENormalizer(reasoning=reasoning)
    assert server.body == normalizer.feed(whole) + normalizer.close()
    assert server.status == 200
    # Never more messages than the app sent: nothing is cut up.
    assert len(server.sent) <= len(cuts[cut]) + 2


def test_headers_of_a_stream() -> None:
    head = start(
        "Text/Event-Stream; charset=utf-8",
        status=201,
        Content_Length="123",
        etag='"a"',
        content_encoding="identity",
        x_request_id="r1",
        set_cookie="a=b",
        access_control_allow_origin="*",
    )
    server = run(exchange([head, body(TEXT), body(DONE, more=False)]))
    assert server.status == 201
    assert server.headers == {
        "content-type": "Text/Event-Stream; charset=utf-8",
        "content-encoding": "identity",
        "x-request-id": "r1",
        "set-cookie": "a=b",
        "access-control-allow-origin": "*",
    }
    assert dict(head["headers"])[b"Content-Length"] == b"123"  # the app's own message


def test_trailers_of_a_stream() -> None:
    head = {**start(), "trailers": True}
    server = run(exchange([head, body(TEXT), body(DONE, more=False), TRAILERS]))
    assert server.sent[0]["trailers"] is True
    assert server.sent[-1] is TRAILERS


def test_lines_of_json(engine: Engine) -> None:
    lines = [chunk({"reasoning": "why"}) + b"\n", chunk({"content": "so"}, "stop") + b"\n"]
    messages = [start("application/x-ndjson"), *map(body, lines), END]
    server = run(exchange(messages, _engine_module=engine))
    assert server.body == chunk({"reasoning_content": "why"}) + b"\n" + lines[1]


@pytest.mark.parametrize("done", ["always", "as_sent"])
def test_the_end_of_a_good_stream(engine: Engine, done: Any) -> None:
    server = run(exchange(pieces(TEXT, FINISH), done=done, _engine_module=engine))
    assert server.body == TEXT + FINISH + (DONE if done == "always" else b"")


def test_nothing_follows_the_terminal_marker(engine: Engine) -> None:
    server = run(exchange(pieces(TEXT, DONE, b": more\n\n", TEXT), _engine_module=engine))
    assert server.body == TEXT + DONE
    assert server.before[-1] == len(server.sent) == 4  # and the app decides when it is over


def test_an_app_that_does_not_end_its_body() -> None:
    server = run(exchange([start(), body(TEXT), body(FINISH)]))
    assert server.body == TEXT + FINISH + DONE
    server = run(exchange([start(), body(ROLE)]))
    assert server.status == 502


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_bytes(kind: Any) -> None:
    server = run(exchange([start(), {**body(b""), "body": kind(TEXT + DONE)}, END]))
    assert server.body == TEXT + DONE


def test_text_is_refused_as_a_server_would() -> None:
    with pytest.raises(TypeError, match="must be bytes, not str"):
        run(exchange([start(), {"type": BODY, "body": "data: x\n\n", "more_body": True}]))


def test_a_second_head_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"http\.response\.start"):
        run(exchange([start(), start()]))


def test_a_message_behind_the_end_is_the_servers_to_judge() -> None:
    server = Server()

    async def send(message: Message) -> None:
        if server.sent and not server.sent[-1].get("more_body", True):
            raise RuntimeError("after response already completed")
        await server.send(message)

    app = NormalizeMiddleware(server.plays([*pieces(TEXT, DONE), body(TEXT)]))
    with pytest.raises(RuntimeError, match="already completed"):
        run(app(scope(), server.receive, send))


# Options. ---------------------------------------------------------------------------


class AsyncCallable:
    async def __call__(self, *_: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"resoning": "both"}, TypeError),
        ({"reasoning": "neither"}, ValueError),
        ({"peek_bytes": 0}, ValueError),
        ({"peek_bytes": 1.5}, TypeError),
        ({"peek_timeout": -1}, ValueError),
        ({"peek_reasoning": 1}, TypeError),
        ({"heartbeat": "15"}, TypeError),
        ({"heartbeat": 0}, ValueError),
        ({"done": "never"}, ValueError),
        ({"only": "/v1"}, TypeError),
        ({"on_fault": 1}, TypeError),
        ({"on_fault": asyncio.sleep}, TypeError),
        ({"on_fault": AsyncCallable()}, TypeError),
        ({"only": asyncio.sleep}, TypeError),
    ],
)
def test_wrong_options_are_found_when_the_app_is_made(options: Any, error: Any) -> None:
    with pytest.raises(error):
        NormalizeMiddleware(Server().plays([]), **options)


def test_the_host_is_told_of_a_fault() -> None:
    told: list[tuple[StreamFault, str]] = []

    def on_fault(fault: StreamFault, request: Any) -> None:
        told.append((fault, request["path"]))

    for messages in (pieces(), pieces(TEXT), pieces(TEXT, DONE)):
        run(exchange(messages, on_fault=on_fault))
    assert [(fault.kind, path) for fault, path in told] == [
        ("empty", "/v1/chat/completions"),
        ("truncated", "/v1/chat/completions"),
    ]
    assert [fault.visible_output for fault, _ in told] == [False, True]
    assert json.dumps([fault.as_dict(content=True) for fault, _ in told])

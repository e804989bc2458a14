"""Compare the two engines on mutated streams: ``python fuzz/differential.py --iterations N``.

The vectors of the tests are the seeds. Every input is fed to both engines, in both
outputs, with the same random cuts and options. The first difference is shrunk, printed,
and ends the run with exit code 1. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from streamnorm import ChunkNormalizer, SSENormalizer, StreamFault
from streamnorm._engine import Engine, choose

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors"

# Pieces that change what a stream means, for insertions.
PIECES = (
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"data: ", b"data:", b"data: [DONE]\n\n", b": c\n",
    b"event: error\n", b"error: {", b"\xef\xbb\xbf", b"\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\0",
    b'"reasoning":"x",', b'"reasoning":null,', b'"thinking":"",', b'"reasoning_content":{},',
    b'"reasoning_details":[],', b'{"type":"reasoning.text","text":"x"},', b'"text":"x"', b",", b":",
    b'"', b"\\", b"\\u0069", b"\\ud800", b"\\ud83d\\ude00", b"{", b"}", b"[", b"]", b"null", b"NaN",
    b"-0", b"1e400", b"9" * 25, b" ", b"\t", b"[" * 70, b"]" * 70, b'"choices":', b'"delta":{',
    b'"index":1,', b'"finish_reason":"stop",', b'"error":{"code":500},',
    b"<think>", b"</think>", b"<thi", b"nk>", b"<", b"</thought>", b"[THINK]", b"<|end|>", b"`",
    b"```\\n", b"\\n<tool_call>", b'"content":"<think>x",', b'"content":null,', b'"content":[],',
    b'"tool_calls":[{"function":{"name":"f","arguments":"{}"}}],', b'"id":null,', b'"name":"",',
    b'"extra_content":{"google":{"thought":true}},', b'{"type":"thinking","thinking":"x"},',
    b'data: {"choices":[{"delta":{"role', b'}data: {"', b'}{"', b"data: data: ", b"}data: [DONE]",
    b'"message":{"content":"x"},', b'"usage":{"total_tokens":1},', b'error: {"message":"m"}\n',
    b'"detail":"x",', b'"code":500,"message":"m",', b'"type":"error",', b'"status":404,',
    b'"choices":null,"base_resp":{"status_code":1},', b"<html>", b"\x1f\x8b\x08", b"\x78\x9c",
)  # fmt: skip
SWAPS = (
    (b'"reasoning"', b'"reasoning_content"'), (b'"reasoning_content"', b'"reasoning"'),
    (b'"reasoning"', b'"thinking"'), (b'"reasoning"', b'"reason\\u0069ng"'), (b"null", b'""'),
    (b'""', b"null"), (b'"index":0', b'"index":1'), (b"\n", b"\r\n"), (b"\n", b"\r"),
    (b"data: ", b"data:"), (b"delta", b"message"), (b'"text"', b'"summary"'), (b"0", b"-0"),
    (b'{"text":', b'{"signature":"s","text":'), (b'"stop"', b'"null"'), (b" ", b"  "),
    (b"<", b"\\u003c"), (b'"content"', b'"reasoning_content"'),
    (b'"arguments":"', b'"arguments":{"'), (b'"index":0', b'"index":null'),
    (b'"delta":{', b'"delta":null,"x":{'), (b"\n\ndata: ", b"data: "), (b"\n", b""),
    (b'"choices":[', b'"errors":['), (b"}\n\n", b'}\nerror: {"message":"m"}\n\n'),
)  # fmt: skip
OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {}, {}, {"reasoning": "reasoning"}, {"reasoning": "both"}, {"keep_original": True},
    {"on_malformed": "skip"}, {"on_malformed": "skip", "reasoning": "both"},
    {"max_line_bytes": 60}, {"max_event_bytes": 200, "on_malformed": "skip"}, {"tags": "free"},
    {"tags": "off"}, {"starts_in_reasoning": True}, {"trim_tags": False}, {"finish": "last"},
    {"split_mixed": True}, {"split_mixed": True, "finish": "last", "tags": "free"},
    {"repairs": ()}, {"tag_names": (("<x", ">"), "think", "granite")},
)  # fmt: skip


class Case(NamedTuple):
    """One input and how it is fed."""

    raw: bytes
    options: dict[str, Any]
    cuts: int

    def parts(self) -> list[bytes]:
        """The reads: the whole for 0, else random ones of that seed."""
        if not self.cuts:
            return [self.raw]
        chance = random.Random(self.cuts)  # noqa: S311 - reproducible, not secret
        parts, at = [], 0
        while at < len(self.raw):
            size = chance.choice((1, 1, 2, 5, 17, 61, 300))
            parts.append(self.raw[at : at + size])
            at += size
        return parts


def seeds() -> list[bytes]:
    """The inputs of the vectors, and all of them that have no fault in one stream."""
    vectors = [json.loads(path.read_text("utf-8")) for path in sorted(VECTORS.glob("*/*.json"))]
    inputs = ["".join(vector["input"]).encode("utf-8") for vector in vectors]
    if not inputs:
        raise SystemExit(f"no vectors in {VECTORS.name}")
    return inputs


def mutate(raw: bytes, chance: random.Random, pool: list[bytes]) -> bytes:
    """One to six random changes."""
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(raw))
        end = min(len(raw), at + chance.choice((1, 1, 2, 8, 40, 200)))
        kind = chance.randrange(8)
        if kind == 0:
            raw = raw[:at] + raw[end:]
        elif kind == 1:
            raw = raw[:at] + raw[at:end] * 2 + raw[end:]
        elif kind == 2:
            raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
        elif kind == 3:
            other = chance.choice(pool)
            start = chance.randint(0, len(other))
            raw = raw[:at] + other[start : start + chance.choice((20, 200, 2000))] + raw[at:]
        elif kind in (4, 5):
            old, new = chance.choice(SWAPS)
            raw = raw.replace(old, new, chance.choice((1, 2, 99)))
        else:
            raw = raw[:at] + chance.choice(PIECES) + raw[at:]
    return raw[:20_000]


def outcome(engine: Engine, case: Case, output: type[ChunkNormalizer | SSENormalizer]) -> str:
    """All that an engine says about a case, as one text."""
    normalizer = output(_engine_module=engine, **case.options)
    made: list[Any] = []
    fault: list[str] = []
    try:
        for part in case.parts():
            made.append(normalizer.feed(part))
        made.append(normalizer.close())
        normalizer.close()
    except StreamFault as error:
        state = sorted(vars(error).items())
        fault = [str(error), repr(state)]
    except Exception as error:  # noqa: BLE001 - a crash is a finding whatever its type
        fault = ["CRASH", repr(error)]
    report = normalizer.report.as_dict()
    said = {key: report[key] for key in report if key not in ("engine", "declined")}
    whole = b"".join(made).hex() if output is SSENormalizer else [c for m in made for c in m]
    return json.dumps([whole, fault, said])


def difference(engines: tuple[Engine, Engine], case: Case) -> str | None:
    """What the engines disagree about, None where they agree and neither crashes."""
    for output in (ChunkNormalizer, SSENormalizer):
        first, second = (outcome(engine, case, output) for engine in engines)
        if first != second or '["CRASH"' in first:
            return f"{output.__name__}\n  rust:   {first}\n  python: {second}"
    return None


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Leave out what the failure does not need."""
    size = len(case.raw) // 2
    while size:
        at = 0
        while at < len(case.raw):
            less = case._replace(raw=case.raw[:at] + case.raw[at + size :])
            if fails(less):
                case = less
            else:
                at += size
        size //= 2
    return case


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    wish = parser.parse_args(arguments)
    try:
        engines = choose("rust"), choose("python")
    except ImportError as error:
        sys.stderr.write(f"nothing to compare: {error}\n")
        return 2
    chance = random.Random(wish.seed)  # noqa: S311 - reproducible, not secret
    pool = seeds()
    for number in range(wish.iterations):
        raw = mutate(chance.choice(pool), chance, pool)
        case = Case(raw, chance.choice(OPTIONS), chance.choice((0, 0, number + 1)))
        if difference(engines, case) is None:
            continue
        case = shrink(case, lambda less: difference(engines, less) is not None)
        sys.stdout.write(f"the engines differ at iteration {number} of seed {wish.seed}\n")
        sys.stdout.write(
            f"input:   {case.raw!r}\noptions: {case.options}\nreads:   {case.parts()!r}\n"
        )
        sys.stdout.write(f"{difference(engines, case)}\n")
        return 1
    sys.stdout.write(f"{wish.iterations} inputs of seed {wish.seed}: the engines agree\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What `benches.linear` says of its counts. (That it counts, `make instructions` shows.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .helpers import ROOT

# The benchmarks are no part of the package. At the end: nothing else is to be found there.
sys.path.append(str(ROOT))
from benches import growth, linear
from benches.linear import Line

STRAIGHT = Line("rust", "bytes", 1024, 8.0 * 2**20, 10.0 * 2**20)
CURVED = Line("python", "chunks", 65536, 8.0 * 2**20, 11.0 * 2**20)


def test_growth_is_judged() -> None:
    assert (STRAIGHT.growth, STRAIGHT.is_straight) == (1.25, True)
    assert (CURVED.growth, CURVED.is_straight) == (1.375, False)
    assert linear.exit_code([STRAIGHT, STRAIGHT]) == 0
    assert linear.exit_code([STRAIGHT, CURVED]) == 1


def test_table() -> None:
    lines = [" ".join(line.split()) for line in linear.table([STRAIGHT, CURVED], 64)]
    assert lines == [
        "one event engine reads, KiB 1 MiB 64 MiB growth within",
        "bytes rust 1 8.00 10.00 1.25 yes",
        "chunks python 64 8.00 11.00 1.38 NO",
        "Instructions a byte, and how many times as many in the larger event.",
    ]


def test_valgrind_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    assert linear.main([]) == 0
    assert capsys.readouterr().err == "left out: instructions: valgrind is not installed\n"
    monkeypatch.setenv("CI", "true")
    assert linear.main([]) == 1


def test_too_small_an_event_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        linear.main(["--mib", "1"])
    assert "shows no growth" in capsys.readouterr().err


def test_huge_events_are_as_large_as_they_say() -> None:
    one, two = growth.huge(1), growth.huge(2)
    assert 0.9 < len(one) / growth.MIB < 1.3
    assert len(two) / len(one) == pytest.approx(2, abs=0.001)
    assert one.count(b"\n\ndata: ") == two.count(b"\n\ndata: ") == 1

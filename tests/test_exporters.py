"""The exporters, on the real SDK of OpenTelemetry and the real client of Prometheus."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import StreamFault, Usage, normalize_stream
from streamnorm.exporters._observations import ERROR_TYPES, GAPS_LIMIT, error_type, spread
from streamnorm.faults import Category, Kind
from streamnorm.flow_state import Outcome
from streamnorm.metrics import Metrics, Recorder

from .helpers import DONE, chunk, event

# The conventions, as they are published (see `streamnorm.semconv`).
TIMES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (
    1,
    4,
    16,
    64,
    256,
    1024,
    4096,
    16384,
    65536,
    262144,
    1048576,
    4194304,
    16777216,
    67108864,
)
OPERATION = {
    "gen_ai.client.operation.duration": "s",
    "gen_ai.client.operation.time_to_first_chunk": "s",
    "gen_ai.client.operation.time_per_output_chunk": "s",
    "gen_ai.client.token.usage": "{token}",
}
INFERENCE = {
    "gen_ai.client.inference.duration": "s",
    "gen_ai.client.inference.time_to_first_chunk": "s",
    "gen_ai.client.inference.time_per_output_chunk": "s",
    "gen_ai.client.inference.operation.input_tokens": "{token}",
    "gen_ai.client.inference.operation.output_tokens": "{token}",
}
OURS = {"streamnorm.time_to_first_visible": "s", "streamnorm.reasoning_time": "s"}
GIVEN = {"gen_ai.provider.name": "groq", "gen_ai.request.model": "m-1"}


@dataclass
class Stream:
    """What an exporter reads of a stream."""

    metrics: Metrics
    usage: Usage = field(default_factory=Usage)
    outcome: Outcome = field(default_factory=lambda: Outcome(complete=True))
    fault: StreamFault | None = None


def recorded(*, end: float | None = 14.0) -> Metrics:
    """Starts at 10; chunks at 11, 11, 12, 12.5; reasons at 11, is visible at 12.5."""
    recorder = Recorder(10.0)
    for now, chunks in ((11.0, 2), (12.0, 1), (12.5, 1)):
        recorder.read(now, 100)
        recorder.chunks(now, chunks)
        if now == 11.0:
            recorder.reasoning(now)
    recorder.visible(12.5)
    if end is not None:
        recorder.end(end)
    return recorder.metrics(20)


def good() -> Stream:
    return Stream(recorded(), Usage(prompt=300, completion=20, source="upstream"))


def failed(metrics: Metrics | None = None, **fields: Any) -> Stream:
    fault = StreamFault("no", **fields)
    outcome = Outcome(complete=False, fault=fault)
    return Stream(metrics or recorded(), outcome=outcome, fault=fault)


async def pieces(*items: bytes) -> AsyncIterator[bytes]:
    for item in items:
        yield item


# What is recorded. ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (good(), None),
        (Stream(recorded(end=None), outcome=Outcome(complete=False)), "cancelled"),
        (failed(kind="truncated", blame="client"), "cancelled"),
        (failed(kind="truncated", category="api_connection", blame="transport"), "truncated"),
        (failed(kind="idle_timeout", category="api_connection"), "idle_timeout"),
        (failed(kind="http_error", category="rate_limit", blame="credential"), "rate_limit"),
        (failed(kind="error_event", category="server_error"), "server_error"),
        (failed(kind="error_event"), "error_event"),
        (failed(kind="http_error"), "http_error"),
        (failed(kind="not of ours"), "_OTHER"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_error_type(stream: Stream, expected: str | None) -> None:
    assert error_type(stream) == expected


def test_error_types_are_few_and_known() -> None:
    kinds, categories = set(get_args(Kind)), set(get_args(Category))
    found = {
        error_type(failed(kind=kind, category=category, blame=blame))
        for kind in kinds
        for category in categories
        for blame in ("request", "credential", "provider", "transport", "client")
    }
    assert found <= ERROR_TYPES
    # Each is reached but the one for kinds that do not exist.
    assert ERROR_TYPES - found == {"_OTHER"}


@given(
    st.dictionaries(st.integers(0, 50), st.integers(1, 40), max_size=20),
    st.integers(1, 100),
)
def test_spread_chooses_evenly(counts: dict[int, int], limit: int) -> None:
    gaps = {float(gap): counts[gap] for gap in sorted(counts)}
    every = [gap for gap, count in gaps.items() for _ in range(count)]
    chosen = list(spread(gaps, limit))
    if len(every) <= limit:
        assert chosen == every
        return
    assert len(chosen) == limit
    for gap in gaps:
        share = sum(one <= gap for one in every) / len(every)
        chosen_share = sum(one <= gap for one in chosen) / limit
        assert abs(share - chosen_share) <= 1 / limit


def test_nothing_imports_the_libraries_by_itself() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = sys.modules['prometheus_client'] = None; "
        "import streamnorm, streamnorm.metrics, streamnorm.exporters"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# OpenTelemetry. ------------------------------------------------------------------------


class Otel:
    """A provider, and what was recorded with it."""

    def __init__(self) -> None:
        metrics = pytest.importorskip("opentelemetry.sdk.metrics")
        export = pytest.importorskip("opentelemetry.sdk.metrics.export")
        self.reader = export.InMemoryMetricReader()
        self.provider = metrics.MeterProvider([self.reader], shutdown_on_exit=False)

    def scopes(self) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [] if data is None else [s for r in data.resource_metrics for s in r.scope_metrics]

    def found(self) -> dict[str, Any]:
        return {metric.name: metric for scope in self.scopes() for metric in scope.metrics}

    def points(self, name: str) -> dict[frozenset[tuple[str, Any]], Any]:
        return {
            frozenset(point.attributes.items()): point
            for point in self.found()[name].data.data_points
        }

    def point(self, name: str, **own: str) -> Any:
        """The only point, or the one with *own* (underscores for dots) beside what was given."""
        common = {"gen_ai.operation.name": "chat", **GIVEN}
        own = {key.replace("_", ".").replace("gen.ai", "gen_ai"): own[key] for key in own}
        return self.points(name)[frozenset({**common, **own}.items())]


@pytest.fixture
def otel() -> Otel:
    return Otel()


def otel_recorder(otel: Otel, **options: Any) -> Any:
    from streamnorm.exporters.otel import OTelRecorder

    return OTelRecorder(otel.provider, **options)


@pytest.mark.parametrize(
    ("convention", "names"), [("operation", OPERATION), ("inference", INFERENCE)]
)
def test_otel_names_units_and_buckets(otel: Otel, convention: str, names: dict[str, str]) -> None:
    otel_recorder(otel, convention=convention).record(good(), GIVEN)
    found = otel.found()
    assert {name: metric.unit for name, metric in found.items()} == {**names, **OURS}
    for metric in found.values():
        for point in metric.data.data_points:
            expected = TIMES if metric.unit == "s" else TOKENS
            assert tuple(point.explicit_bounds) == expected, metric.name
    schema = "https://opentelemetry.io/schemas/1.41.0" if convention == "operation" else ""
    (scope,) = otel.scopes()
    assert (scope.scope.name, scope.scope.schema_url or "") == ("streamnorm", schema)


def test_otel_names_are_those_of_the_published_package() -> None:
    published = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
    names = {value for name, value in vars(published).items() if name.isupper()}
    client = {name for name in names if name.startswith("gen_ai.client.")}
    # Older versions of the package lack those of chunks.
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"} <= client
    assert client <= set(OPERATION)


def test_otel_values(otel: Otel) -> None:
    otel_recorder(otel).record(good(), GIVEN)
    duration = otel.point("gen_ai.client.operation.duration")
    assert (duration.count, duration.sum) == (1, 4.0)
    first = otel.point("gen_ai.client.operation.time_to_first_chunk")
    assert (first.count, first.sum) == (1, 1.0)
    gaps = otel.point("gen_ai.client.operation.time_per_output_chunk")
    assert (gaps.count, gaps.sum, gaps.min, gaps.max) == (3, 1.5, 0.0, 1.0)
    spent = otel.point("gen_ai.client.token.usage", gen_ai_token_type="input")
    assert (spent.count, spent.sum) == (1, 300)
    made = otel.point("gen_ai.client.token.usage", gen_ai_token_type="output")
    assert (made.count, made.sum) == (1, 20)
    assert otel.point("streamnorm.time_to_first_visible").sum == 2.5
    assert otel.point("streamnorm.reasoning_time").sum == 1.5


def test_otel_tokens_of_the_newer_convention(otel: Otel) -> None:
    otel_recorder(otel, convention="inference").record(good(), GIVEN)
    assert otel.point("gen_ai.client.inference.operation.input_tokens").sum == 300
    assert otel.point("gen_ai.client.inference.operation.output_tokens").sum == 20


def test_otel_only_the_duration_says_how_it_failed(otel: Otel) -> None:
    stream = failed(kind="http_error", category="rate_limit", blame="credential")
    otel_recorder(otel).record(stream, GIVEN)
    assert otel.point("gen_ai.client.operation.duration", error_type="rate_limit").count == 1
    others = set(otel.found()) - {"gen_ai.client.operation.duration"}
    assert others == {
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        *OURS,
    }
    for name in others:
        assert otel.point(name).count > 0


def test_otel_a_stream_that_failed_before_it_began_is_counted(otel: Otel) -> None:
    stream = failed(Recorder(5.0).metrics(None), kind="none_stream", blame="request")
    otel_recorder(otel).record(stream, GIVEN)
    (name,) = otel.found()
    point = otel.point(name, error_type="none_stream")
    assert (name, point.count, point.sum) == ("gen_ai.client.operation.duration", 1, 0.0)


def test_otel_and_a_refused_request_takes_from_sending_to_now(otel: Otel) -> None:
    stream = failed(Recorder(5.0).metrics(None), kind="none_stream", blame="request")
    otel_recorder(otel).record(stream, GIVEN, sent=perf_counter() - 30)
    point = otel.point("gen_ai.client.operation.duration", error_type="none_stream")
    assert 30 <= point.sum < 300


def test_otel_of_a_stream_that_nobody_read_there_is_nothing(otel: Otel) -> None:
    stream = Stream(Recorder(5.0).metrics(None), outcome=Outcome(complete=False))
    otel_recorder(otel).record(stream, GIVEN)
    assert otel.found() == {}


def test_otel_attributes(otel: Otel) -> None:
    given = {"gen_ai.operation.name": "text_completion", "server.port": 443, "server.address": None}
    otel_recorder(otel).record(good(), given)
    (attributes,) = otel.points("gen_ai.client.operation.duration")
    expected = {"gen_ai.operation.name": "text_completion", "server.port": 443}
    assert dict(attributes) == expected
    assert given["server.address"] is None


def test_otel_times_from_when_the_request_was_sent(otel: Otel) -> None:
    otel_recorder(otel).record(good(), GIVEN, sent=7.0)
    assert otel.point("gen_ai.client.operation.duration").sum == 7.0
    assert otel.point("gen_ai.client.operation.time_to_first_chunk").sum == 4.0
    assert otel.point("gen_ai.client.operation.time_per_output_chunk").sum == 1.5


def test_otel_streams_add_up_and_gaps_are_limited(otel: Otel) -> None:
    recorder = otel_recorder(otel)
    long = Recorder(0.0)
    for at in range(3 * GAPS_LIMIT):
        long.chunks(float(at), 2)
    recorder.record(good(), GIVEN)
    recorder.record(Stream(long.metrics(None)), GIVEN)
    point = otel.point("gen_ai.client.operation.time_per_output_chunk")
    assert point.count == 3 + GAPS_LIMIT
    # The gaps of the first add up to 1.5 seconds. Half of those of the second are 0, the others
    # 1 second, within 1/32 of it; where the choice begins may make a difference of one.
    assert point.sum - 1.5 == pytest.approx(GAPS_LIMIT / 2, abs=GAPS_LIMIT / 2 / 32 + 1.1)


def test_otel_by_a_meter_of_the_host(otel: Otel, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamnorm.exporters.otel import record

    meter = otel.provider.get_meter("host")
    create, created = meter.create_histogram, []

    def create_histogram(name: str, *arguments: Any, **more: Any) -> Any:
        created.append(name)
        return create(name, *arguments, **more)

    monkeypatch.setattr(meter, "create_histogram", create_histogram)
    for _ in range(2):
        record(good(), GIVEN, meter=meter)
    assert otel.point("gen_ai.client.operation.duration").count == 2
    (scope,) = otel.scopes()
    assert scope.scope.name == "host"
    assert sorted(created) == sorted({**OPERATION, **OURS})


def test_otel_without_a_provider_does_nothing() -> None:
    pytest.importorskip("opentelemetry")
    from streamnorm.exporters.otel import record

    record(good(), GIVEN)
    record(failed(kind="empty"))


def test_otel_an_unknown_convention(otel: Otel) -> None:
    with pytest.raises(ValueError, match="semconv"):
        otel_recorder(otel, convention="semconv")


# Prometheus. ---------------------------------------------------------------------------

LABELS = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "groq",
    "gen_ai_request_model": "m-1",
}


class Prometheus:
    """A registry and a recorder for it."""

    def __init__(self, **options: Any) -> None:
        client = pytest.importorskip("prometheus_client")
        from streamnorm.exporters.prometheus import PrometheusRecorder

        self.registry = client.CollectorRegistry()
        self.recorder = PrometheusRecorder(self.registry, **options)

    def value(self, name: str, **labels: str) -> float | None:
        found: float | None = self.registry.get_sample_value(name, {**LABELS, **labels})
        return found

    def names(self) -> set[str]:
        return {family.name for family in self.registry.collect()}

    def samples(self, name: str) -> list[Any]:
        return [
            sample
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name
        ]


def test_prometheus_names_follow_those_of_opentelemetry() -> None:
    # As the OpenTelemetry specification says in "Prometheus and OpenMetrics Compatibility".
    assert Prometheus().names() == {
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "gen_ai_client_token_usage",
        "streamnorm_time_to_first_visible_seconds",
        "streamnorm_reasoning_time_seconds",
    }
    assert (
        "gen_ai_client_inference_operation_input_tokens"
        in Prometheus(convention="inference").names()
    )


def test_prometheus_values() -> None:
    prometheus = Prometheus()
    prometheus.recorder.record(good(), GIVEN)
    value = prometheus.value
    assert value("gen_ai_client_operation_duration_seconds_sum", error_type="") == 4.0
    assert value("gen_ai_client_operation_time_to_first_chunk_seconds_sum") == 1.0
    assert value("gen_ai_client_operation_time_per_output_chunk_seconds_count") == 3
    assert value("gen_ai_client_operation_time_per_output_chunk_seconds_sum") == 1.5
    assert value("gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 300
    assert value("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 20
    assert value("streamnorm_time_to_first_visible_seconds_sum") == 2.5
    assert value("streamnorm_reasoning_time_seconds_sum") == 1.5


def test_prometheus_buckets() -> None:
    prometheus = Prometheus()
    prometheus.recorder.record(good(), GIVEN)
    for name, expected in (
        ("gen_ai_client_operation_duration_seconds", TIMES),
        ("gen_ai_client_operation_time_to_first_chunk_seconds", TIMES),
        ("gen_ai_client_operation_time_per_output_chunk_seconds", TIMES),
        ("gen_ai_client_token_usage", TOKENS),
    ):
        bounds = {float(sample.labels["le"]) for sample in prometheus.samples(f"{name}_bucket")}
        assert bounds == {*expected, float("inf")}, name


def test_prometheus_errors() -> None:
    prometheus = Prometheus()
    prometheus.recorder.record(failed(kind="idle_timeout"), GIVEN)
    begun = failed(Recorder(5.0).metrics(None), kind="none_stream", blame="request")
    prometheus.recorder.record(begun, GIVEN)
    name = "gen_ai_client_operation_duration_seconds_count"
    assert prometheus.value(name, error_type="idle_timeout") == 1
    assert prometheus.value(name, error_type="none_stream") == 1
    assert prometheus.value(name, error_type="") is None


def test_prometheus_labels_are_chosen_once() -> None:
    prometheus = Prometheus(labels=["gen_ai.request.model", "server.port"])
    prometheus.recorder.record(good(), {**GIVEN, "server.port": 443, "user": "anyone"})
    prometheus.recorder.record(good(), {"gen_ai.request.model": None})
    labels = [
        sample.labels for sample in prometheus.samples("streamnorm_reasoning_time_seconds_count")
    ]
    assert labels == [
        {"gen_ai_request_model": "m-1", "server_port": "443"},
        {"gen_ai_request_model": "", "server_port": ""},
    ]


def test_prometheus_without_labels() -> None:
    prometheus = Prometheus(labels=[])
    prometheus.recorder.record(good(), GIVEN)
    (sample,) = prometheus.samples("streamnorm_reasoning_time_seconds_sum")
    assert (sample.labels, sample.value) == ({}, 1.5)


def test_prometheus_series_are_bounded() -> None:
    prometheus = Prometheus(max_series=3)
    for at in range(50):
        prometheus.recorder.record(good(), {**GIVEN, "gen_ai.request.model": f"m-{at}"})
    prometheus.recorder.record(good(), {**GIVEN, "gen_ai.request.model": "m-2"})
    counts = {
        sample.labels["gen_ai_request_model"]: sample.value
        for sample in prometheus.samples("streamnorm_reasoning_time_seconds_count")
    }
    assert counts == {"m-0": 1, "m-1": 1, "m-2": 2, "_OTHER": 47}


def test_prometheus_one_recorder_for_a_registry() -> None:
    prometheus = Prometheus()
    from streamnorm.exporters.prometheus import PrometheusRecorder

    with pytest.raises(ValueError, match="uplicated"):
        PrometheusRecorder(prometheus.registry)


# Real streams. -------------------------------------------------------------------------


def parts() -> tuple[bytes, ...]:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    return (
        event(chunk({"reasoning": "why"})),
        event(chunk({"content": "so"})),
        event(chunk({}, "stop")),
        event(json.dumps({"choices": [], "usage": usage}).encode()),
    )


async def read_and_record(recorder: Any, *items: bytes) -> None:
    stream = normalize_stream(pieces(*items))
    recorder.record(stream, GIVEN)  # of what was not begun there is nothing
    try:
        async for _ in stream:
            pass
    except StreamFault:
        pass
    finally:
        recorder.record(stream, GIVEN)


def test_otel_of_a_stream(otel: Otel) -> None:
    asyncio.run(read_and_record(otel_recorder(otel), *parts(), DONE))
    assert otel.point("gen_ai.client.operation.duration").count == 1
    assert otel.point("gen_ai.client.operation.time_to_first_chunk").count == 1
    assert otel.point("gen_ai.client.token.usage", gen_ai_token_type="input").sum == 9
    assert otel.point("gen_ai.client.token.usage", gen_ai_token_type="output").sum == 4
    assert otel.point("streamnorm.reasoning_time").count == 1


def test_otel_of_a_stream_that_breaks_off(otel: Otel) -> None:
    asyncio.run(read_and_record(otel_recorder(otel), *parts()[:2]))
    assert otel.point("gen_ai.client.operation.duration", error_type="truncated").count == 1


def test_otel_of_a_stream_that_is_left(otel: Otel) -> None:
    recorder = otel_recorder(otel)

    async def leave() -> None:
        async with normalize_stream(pieces(*parts())) as stream:
            await anext(stream)
        recorder.record(stream, GIVEN)

    asyncio.run(leave())
    assert otel.point("gen_ai.client.operation.duration", error_type="cancelled").count == 1


def test_prometheus_of_a_synchronous_stream() -> None:
    from streamnorm import normalize_stream_sync

    prometheus = Prometheus()
    stream = normalize_stream_sync(iter([*parts(), DONE]))
    assert list(stream)
    prometheus.recorder.record(stream, GIVEN)
    name = "gen_ai_client_operation_duration_seconds_count"
    assert prometheus.value(name, error_type="") == 1
    assert prometheus.value("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 4

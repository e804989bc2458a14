"""Records streams as OpenTelemetry metrics, by the conventions for generative AI.

Needs the extra ``otel`` (the package opentelemetry-api, 1.30 or newer); without a
``MeterProvider`` set up by the application, recording does nothing. See
`streamnorm.semconv` for the instruments and their source.

    from streamnorm.exporters import otel

    stream = normalize_stream(response)
    try:
        async for chunk in stream:
            ...
    finally:
        otel.record(stream, {"gen_ai.provider.name": "groq", "gen_ai.request.model": model})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Histogram, Meter, MeterProvider, get_meter

from .._version import __version__
from ..semconv import INSTRUMENTS, OPERATION_NAME, SCHEMA_URL, Convention, check_convention
from ._observations import RecordedStream, observe

# What OpenTelemetry takes as the value of an attribute; None is left out.
_Scalar = str | bool | int | float
Attributes = Mapping[str, _Scalar | Sequence[str] | Sequence[int] | Sequence[float] | None]


class OTelRecorder:
    """Histograms of one meter, and what fills them.

    Args:
        meter_provider: Where the meter ``streamnorm`` comes from; None: the global provider.
        meter: A meter to use instead of one of our own.
        convention: How the instruments are called; see `streamnorm.semconv`.

    Raises:
        ValueError: There is no such convention.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        meter: Meter | None = None,
        convention: Convention = "operation",
    ) -> None:
        check_convention(convention)
        self._convention: Convention = convention
        if meter is None:
            schema = SCHEMA_URL if convention == "operation" else None
            meter = get_meter("streamnorm", __version__, meter_provider, schema)
        self._histograms = _make_histograms(meter, convention)

    def record(
        self,
        stream: RecordedStream,
        attributes: Attributes | None = None,
        *,
        sent: float | None = None,
    ) -> None:
        """Record what *stream* was like. Once for each stream, after its end.

        What is not known of it is left out. See `error_type` in
        `streamnorm.exporters._observations` for the values of ``error.type``.

        Args:
            stream: A `NormalizedStream` or `NormalizedStreamSync`. One that is not at its
                end is recorded as it is, as cancelled.
            attributes: What the stream cannot know, by the conventions' names. They require
                ``gen_ai.provider.name`` and, where it is known, ``gen_ai.request.model``;
                they recommend ``gen_ai.response.model`` and ``server.address`` (with
                ``server.port``). ``gen_ai.operation.name`` is ``chat`` unless it is here.
                None as a value leaves an attribute out. Each set of values is a time series:
                nothing that a caller of yours can choose freely should be among them.
            sent: When the request was sent, by `time.perf_counter`, for a response that was
                opened before it became a stream. None: when the first read began.
        """
        given = {OPERATION_NAME: "chat", **(attributes or {})}
        common = {name: value for name, value in given.items() if value is not None}
        for instrument, values, own in observe(stream, self._convention, sent):
            histogram = self._histograms[instrument.name(self._convention)]
            merged = {**common, **own}
            for number in values:
                histogram.record(number, merged)


def record(
    stream: RecordedStream,
    attributes: Attributes | None = None,
    *,
    meter: Meter | None = None,
    sent: float | None = None,
) -> None:
    """Record *stream* with the global provider's meter, or with *meter*.

    See `OTelRecorder.record`.
    """
    recorder = _global_recorder() if meter is None else _recorder_of(meter)
    recorder.record(stream, attributes, sent=sent)


def _make_histograms(meter: Meter, convention: Convention) -> dict[str, Histogram]:
    histograms: dict[str, Histogram] = {}
    for instrument in INSTRUMENTS:
        name = instrument.name(convention)
        if name not in histograms:
            histograms[name] = meter.create_histogram(
                name,
                instrument.unit,
                instrument.description,
                explicit_bucket_boundaries_advisory=instrument.buckets,
            )
    return histograms


@cache
def _global_recorder() -> OTelRecorder:
    return OTelRecorder()


# A meter that still waits for its provider keeps every instrument that it is asked for.
_recorders: WeakKeyDictionary[Meter, OTelRecorder] = WeakKeyDictionary()


def _recorder_of(meter: Meter) -> OTelRecorder:
    recorder = _recorders.get(meter)
    if recorder is None:
        recorder = _recorders[meter] = OTelRecorder(meter=meter)
    return recorder

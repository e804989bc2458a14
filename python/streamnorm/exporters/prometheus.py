"""Records streams as Prometheus histograms, named after OpenTelemetry's conventions.

Needs the extra ``prometheus`` (the package prometheus_client). Names and labels are those
that OpenTelemetry's own export to Prometheus gives: dots become underscores, and the unit
``s`` becomes the suffix ``_seconds``. See `streamnorm.semconv` for the instruments.

    recorder = PrometheusRecorder()  # one for the process

    stream = normalize_stream(response)
    try:
        async for chunk in stream:
            ...
    finally:
        recorder.record(stream, {"gen_ai.provider.name": "groq", "gen_ai.request.model": model})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from ..semconv import (
    DIRECTION,
    ERROR_TYPE,
    INSTRUMENTS,
    OPERATION_NAME,
    OTHER,
    PROVIDER_NAME,
    REQUEST_MODEL,
    Convention,
    Instrument,
    check_convention,
)
from ._observations import RecordedStream, observe

DEFAULT_LABELS: Final = (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL)


class PrometheusRecorder:
    """Histograms in one registry, and what fills them.

    Args:
        registry: Where they are registered.
        labels: The attributes that become labels, by the conventions' names. Others are
            ignored by `record`.
        max_series: So many different sets of values of them are told apart; every further
            one is counted with ``_OTHER`` in all of them. The memory that a label takes
            which anybody may choose, such as the model of a request, is bounded by that.
        convention: How the histograms are called; see `streamnorm.semconv`.

    Raises:
        ValueError: *registry* has histograms of these names already, of another recorder for
            example; there is no such convention; or a label is not allowed.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        labels: Sequence[str] = DEFAULT_LABELS,
        max_series: int = 1000,
        convention: Convention = "operation",
    ) -> None:
        check_convention(convention)
        self._convention: Convention = convention
        self._labels = tuple(labels)
        self._max_series = max_series
        self._series: set[tuple[str, ...]] = set()
        self._own_labels: dict[str, tuple[str, ...]] = {}
        self._histograms: dict[str, Histogram] = {}
        for instrument in INSTRUMENTS:
            name = instrument.name(convention)
            if name not in self._histograms:
                own = self._own_labels[name] = _own_labels(instrument, convention)
                self._histograms[name] = Histogram(
                    _metric_name(name, instrument.unit),
                    instrument.description,
                    [_label_name(label) for label in (*self._labels, *own)],
                    registry=registry,
                    buckets=instrument.buckets,
                )

    def record(
        self,
        stream: RecordedStream,
        attributes: Mapping[str, object] | None = None,
        *,
        sent: float | None = None,
    ) -> None:
        """Record what *stream* was like. Once for each stream, after its end.

        What is not known of it is left out. See `error_type` in
        `streamnorm.exporters._observations` for the values of the label ``error_type``,
        which is empty for a stream that ended well.

        Args:
            stream: A `NormalizedStream` or `NormalizedStreamSync`. One that is not at its
                end is recorded as it is, as cancelled.
            attributes: What the stream cannot know, by the conventions' names.
                ``gen_ai.operation.name`` is ``chat`` unless it is here. A label that is
                missing here, or None, is empty.
            sent: When the request was sent, by `time.perf_counter`, for a response that was
                opened before it became a stream. None: when the first read began.
        """
        common = self._values({OPERATION_NAME: "chat", **(attributes or {})})
        for instrument, values, own in observe(stream, self._convention, sent):
            name = instrument.name(self._convention)
            labels = (*common, *(own.get(label, "") for label in self._own_labels[name]))
            histogram = self._histograms[name]
            child = histogram.labels(*labels) if labels else histogram
            for number in values:
                child.observe(number)

    def _values(self, attributes: Mapping[str, object]) -> tuple[str, ...]:
        found = (attributes.get(label) for label in self._labels)
        values = tuple("" if value is None else str(value) for value in found)
        if values not in self._series:
            if len(self._series) >= self._max_series:
                return (OTHER,) * len(values)
            self._series.add(values)
        return values


def _own_labels(instrument: Instrument, convention: Convention) -> tuple[str, ...]:
    """The labels that depend on the stream and the figure."""
    labels: tuple[str, ...] = ()
    if instrument.direction and convention == "operation":
        labels += (DIRECTION,)
    if instrument.has_error:
        labels += (ERROR_TYPE,)
    return labels


def _metric_name(name: str, unit: str) -> str:
    return _label_name(name) + ("_seconds" if unit == "s" else "")


def _label_name(name: str) -> str:
    return name.replace(".", "_")

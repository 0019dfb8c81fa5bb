"""The text of a metrics page, in the formats of Prometheus; needs the extra `pytaskd[metrics]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pytask.domain.errors import MissingExtra
from pytask.domain.metrics import Family, Kind

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Exposed


def require() -> None:
    """Raise `MissingExtra` unless a page can be written."""
    try:
        import prometheus_client  # noqa: F401 - whether it is there
    except ImportError as error:
        raise MissingExtra(
            f"/metrics needs the package prometheus-client ({error}): pip install 'pytaskd[metrics]'"
        ) from None


def write(families: Iterable[Family], accept: str = "") -> tuple[bytes, str]:
    """A page and its content type, in the format for which the header `Accept` asks.

    Raises:
        MissingExtra: The extra is not installed.
    """
    require()
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import CollectorRegistry

    encode, content_type = choose_encoder(accept)
    # Neither the process-wide registry nor the multi-process files of that package are used.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(families)))
    return encode(registry), content_type


class _Families:
    """What a registry of that package collects from."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Exposed]:
        return map(_exposed, self._families)


def _exposed(family: Family) -> Exposed:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    metric, series = family.metric, family.series
    names = list(metric.shown_labels)
    if metric.kind is Kind.HISTOGRAM:
        shown = HistogramMetricFamily(metric.name, metric.text, labels=names)
        for labels, found in series.items():
            bounds = [*(f"{bound:g}" for bound in metric.buckets), "+Inf"]
            shown.add_metric(
                _texts(labels), list(zip(bounds, accumulate(found.counts), strict=True)), found.sum
            )
        return shown
    cls = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    plain = cls(metric.name, metric.text, labels=names)
    for labels, number in series.items():
        plain.add_metric(_texts(labels), number)
    return plain


def _texts(labels: Iterable[Any]) -> list[str]:
    # Names of functions come from producers: bytes that are no text are shown as in all other places.
    return [str(label).encode(errors="replace").decode() for label in labels]

"""Writes ``docs/telemetry.md`` from ``names``, or says that it is out of date.

python -m stratarouter_runtime.telemetry.document [--check] [FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import names
from .names import Kind, Label, Metric, Source, Term

DEFAULT = Path("docs/telemetry.md")

_INTRODUCTION = """# Telemetry

<!-- Generated from the code by `make generate`; do not edit. -->

Every name below is part of the interface: dashboards, alerts and log searches may rely on it.
"""

_METRICS = """## Metrics

`GET /metrics` on the platform port (9090): Prometheus text, or OpenMetrics 1.0 for whoever accepts it. Label values come from
the configuration or from a closed list; anything else is `other`, and a metric has at most 2,000 label sets, so no client can
make a pod or Prometheus grow. Series of names that leave the configuration disappear with them.
"""

_TRACES = """## Traces

OTLP over gRPC or HTTP to `observability.tracing.otlpEndpoint`. W3C `traceparent` and `tracestate` are honoured and passed on to
providers, also where nothing is recorded. Names follow the OpenTelemetry semantic conventions 1.41 (`{schema}`);
what they have no word for starts with `strata.`. Prompts and answers are never recorded. Spans that the endpoint does not take are
dropped and counted, and never hold up a request. The exporter honours the SDK's own variables, such as
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_CERTIFICATE` and `OTEL_EXPORTER_OTLP_COMPRESSION`.

| span | kind | name |
| --- | --- | --- |
| a request | SERVER | `{server}` |
| a call to a provider, child of its request | CLIENT | `{client}` |

A request's span is an error from status 500 on; a call's is one when it failed, also where another then answered.
"""

_LOGS = """## Logs

One JSON object a line on standard output. Prompts, answers and keys are never written: only the fields below are, what looks like
a key is replaced by `[redacted]`, and the message of an exception is left out where it may quote a prompt. Libraries log from
`warning` on, whatever the level. Lines that nobody reads in time are dropped and counted, rather than holding up requests.
"""


def render() -> str:
    """The page."""
    traces = _TRACES.format(schema=names.SCHEMA_URL, server=names.SERVER_SPAN, client=names.CLIENT_SPAN)
    parts = [
        _INTRODUCTION, _METRICS, _metrics(), "### Labels\n", _labels(), "### Buckets\n", _buckets(), traces,
        "### Attributes\n", _terms("attribute", names.ATTRIBUTES, "on"), "### Events\n", _terms("event", names.EVENTS, "on"),
        _LOGS, _terms("field", names.LOG_FIELDS, "written in")]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; with ``--check`` only compare, and return 1 where it differs."""
    parser = argparse.ArgumentParser(prog="python -m stratarouter_runtime.telemetry.document", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is out of date")
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT, help="default: %(default)s")
    options = parser.parse_args(arguments)
    page = render()
    if options.check:
        if not options.file.exists() or options.file.read_text(encoding="utf-8") != page:
            sys.stderr.write(f"{options.file} is out of date: run `make generate`\n")
            return 1
        return 0
    options.file.write_text(page, encoding="utf-8")
    return 0


def _metrics() -> str:
    rows = [(f"`{metric.name}`", metric.kind.value, _label_names(metric), metric.help) for metric in names.METRICS]
    rows += [(f"`{name}`", kind, "", meaning) for name, kind, meaning in names.PROCESS_METRICS]
    return _table(("name", "type", "labels", "meaning"), rows)


def _label_names(metric: Metric) -> str:
    return ", ".join(f"`{label.name}`" for label in metric.labels)


def _labels() -> str:
    rows = [(f"`{label.name}`", used, label.help, _values(label)) for label, used in _uses().items()]
    return _table(("label", "of", "meaning", "values"), rows)


def _uses() -> dict[Label, str]:
    uses: dict[Label, list[str]] = {}
    for metric in names.METRICS:
        for label in metric.labels:
            uses.setdefault(label, []).append(f"`{metric.name.removeprefix(names.PREFIX)}`")
    return {label: ", ".join(metrics) for label, metrics in uses.items()}


def _values(label: Label) -> str:
    if label.source is Source.CLOSED:
        return ", ".join(f"`{value}`" for value in label.values)
    return label.source.value


def _buckets() -> str:
    rows = [(f"`{metric.name}`", ", ".join(f"{bound:g}" for bound in metric.buckets))
            for metric in names.METRICS if metric.kind is Kind.HISTOGRAM]
    return _table(("histogram", "upper bounds in seconds"), rows)


def _terms(what: str, terms: Iterable[Term], where: str) -> str:
    return _table((what, where, "meaning"), [(f"`{term.name}`", term.where, term.help) for term in terms])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

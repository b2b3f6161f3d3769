"""The one table: medians, ratios, and how busy the machine was."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.context import Benchmark, Metric
from bench.machine import Busy
from bench.subjects import ALL, DIRECT, HOMEPORT, JUPYTER, NODELAY, Subject

RATIOS = ((JUPYTER, "/ jupyter"), (NODELAY, "/ nodelay"), (DIRECT, "/ direct"))


@dataclass
class Result:
    """What one benchmark gave: by subject and metric the value of each round."""

    benchmark: Benchmark
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    busy: list[Busy] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, subject: Subject, values: Mapping[str, float]) -> None:
        """One round of one subject."""
        for key, value in values.items():
            self.values.setdefault(subject.name, {}).setdefault(key, []).append(value)

    def median(self, subject: Subject, metric: Metric) -> float | None:
        """The median over the rounds; None when it was not measured."""
        found = self.values.get(subject.name, {}).get(metric.key)
        return statistics.median(found) if found else None

    def ratio(self, metric: Metric, subject: Subject, other: Subject) -> float | None:
        """One subject by the other: the median over the rounds of what each round gave, for the machine's pace changes between rounds.

        When one of them was not measured in some round, the ratio of their medians; None when one was not measured at all.
        """
        ours, theirs = (self.values.get(each.name, {}).get(metric.key, []) for each in (subject, other))
        if not ours or not theirs or not all(theirs):
            return None
        if len(ours) != len(theirs):
            return statistics.median(ours) / statistics.median(theirs)
        return statistics.median(one / two for one, two in zip(ours, theirs, strict=True))


def _cells(result: Result, metric: Metric) -> list[str]:
    medians = {subject: result.median(subject, metric) for subject in ALL}
    rounds = max((len(keys.get(metric.key, [])) for keys in result.values.values()), default=0)
    shown = ["" if medians[subject] is None else f"{medians[subject]:.{metric.digits}f}" for subject in ALL]
    found = [result.ratio(metric, HOMEPORT, subject) for subject, _ in RATIOS]
    ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in found]
    busy = f"{max((each.others for each in result.busy), default=0.0):.2f}"
    return [f"{metric.title}, {metric.unit}", *shown, *ratios, str(rounds), busy]


def render(results: Sequence[Result]) -> str:
    """The table as text. The last column: the most that other processes used during a measurement, in cores."""
    rows = [["", *(subject.name for subject in ALL), *(title for _, title in RATIOS), "rounds", "others"]]
    for result in results:
        rows += [
            _cells(result, metric) for metric in result.benchmark.metrics if any(metric.key in keys for keys in result.values.values())
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            text.ljust(width) if not column else text.rjust(width) for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    lines += [f"not measured: {error}" for result in results for error in result.errors]
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Everything that was measured."""
    return [
        {
            "benchmark": result.benchmark.name,
            "metrics": {metric.key: {"title": metric.title, "unit": metric.unit} for metric in result.benchmark.metrics},
            "values": result.values,
            "busy": [{"others": each.others, "steal": each.steal, "load": each.load} for each in result.busy],
            "errors": result.errors,
        }
        for result in results
    ]

"""The text that scrapers read."""

from __future__ import annotations

import re

import pytest

from quaff.model import metrics
from quaff.model.histogram import Histogram, bucket_of
from quaff.model.metrics import FAMILIES, Family, render

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL},?)*)\}})? (\S+)")
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def parsed(text: str, *, open_metrics: bool = False) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels; AssertionError where the text is not as the formats have it."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    lines = text.splitlines()
    assert text.endswith("\n")
    if open_metrics:
        assert lines.pop() == "# EOF"
    titled, kind, met = "", "", set[str]()
    for line in lines:
        if line.startswith("# HELP "):
            titled, kind = line.split(" ", 3)[2], ""
            assert titled not in met, f"{titled} comes twice"
            met.add(titled)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == titled
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            base = titled if open_metrics or kind != "counter" else titled.removesuffix("_total")
            assert sample[1] in [base + suffix for suffix in _SUFFIXES[kind]], line
            key = (sample[1], frozenset(re.findall(_LABEL, sample[2] or "")))
            assert key not in found, f"{line} comes twice"
            found[key] = float(sample[5])
    return found


ODD = 'a\\b"c\nd{}, ü'


@pytest.mark.parametrize("open_metrics", [False, True])
def test_what_is_written_can_be_read(open_metrics: bool) -> None:
    """Each kind, labels with all that has a meaning in the format, numbers large and small."""
    ran = Histogram({bucket_of(0.0001): 1, bucket_of(0.3): 2, bucket_of(1e9): 1}, 1e9 + 0.6)
    found = parsed(
        render(
            [
                (metrics.TASKS, [((ODD, "q", "failed"), 2**60)]),
                (metrics.MEMORY, [((), 0.1)]),
                (metrics.DURATION, [(("t", "q"), ran)]),
            ],
            open_metrics=open_metrics,
        ),
        open_metrics=open_metrics,
    )
    odd = ODD.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    assert found[("quaff_tasks_total", frozenset({("task", odd), ("queue", "q"), ("outcome", "failed")}))] == 2**60
    assert found[("quaff_worker_memory_bytes", frozenset())] == 0.1
    labels = {("task", "t"), ("queue", "q")}
    assert found[("quaff_task_duration_seconds_count", frozenset(labels))] == 4
    buckets = {
        float(dict(pairs)["le"]): value
        for (name, pairs), value in found.items()
        if name == "quaff_task_duration_seconds_bucket"
    }
    assert [buckets[each] for each in sorted(buckets)] == sorted(buckets.values()), "buckets are cumulative"
    assert buckets[min(buckets)] == 1
    assert buckets[max(each for each in buckets if each < float("inf"))] == 3
    assert buckets[float("inf")] == 4


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_metric_is_named_as_the_field_names_them(family: Family) -> None:
    """Base units; the format adds _total by itself."""
    assert re.fullmatch(r"quaff_[a-z_]+", family.name)
    assert not family.name.endswith(("_total", "_milliseconds", "_ms", "_count", "_sum", "_bucket"))
    assert family.kind != "histogram" or family.name.endswith(("_seconds", "_bytes"))
    assert "id" not in family.labels
    assert family.help.endswith(".")

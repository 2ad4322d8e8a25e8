"""What is there to be copied for Prometheus, Grafana and KEDA asks for what Quaff really tells."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import pytest
import yaml  # type: ignore[import-untyped]

from quaff.cli import program
from tests.helpers import wait_until
from tests.model.test_metrics import parsed
from tests.worker.support import Stage
from tests.worker.test_health import ask, free_port

CONTRIB = Path(__file__).parents[1] / "contrib"
RULES = CONTRIB / "prometheus" / "quaff.rules.yaml"
BOARD = CONTRIB / "grafana" / "quaff.json"
KEDA = CONTRIB / "kubernetes" / "keda.yaml"

#: What Prometheus itself puts on a sample.
TARGET = {"instance", "job"}
#: Of PromQL what these files use; a word that is neither of these, a metric nor a label is a mistake.
FUNCTIONS = {"sum", "min", "max", "rate", "increase", "topk", "histogram_quantile"}
WORDS = {"by", "and"}
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^{}]*)\})?(?:\[(\d+[smhd]|\$__rate_interval)\])?")
_MATCHER = re.compile(r'([a-z_]+)(=~|=)"([^"]*)"')
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Told(NamedTuple):
    """What a worker and ``quaff metrics`` have told: samples by name with their labels, and the JSON of /autoscale."""

    samples: dict[str, list[dict[str, str]]]
    autoscale: Any
    ports: dict[str, int]


@pytest.fixture(scope="module")
def told(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """By a worker that has run a job, and by the command, over HTTP."""
    stage = Stage(server_url, tmp_path_factory.mktemp("told"))
    worker, metrics = free_port(), free_port()
    stage.worker("-p", "1", "-c", "1", "--health", str(worker))
    stage.command(sys.executable, "-m", "quaff", "metrics", "-A", "tests.worker.workapp:quaff", "--serve", str(metrics))
    stage.send("tiny").result(timeout=10)
    wait_until(lambda: "quaff_tasks_total" in ask(worker, "/metrics")[1], 10, "the job in the counters")
    wait_until(lambda: ask(metrics, "/metrics")[0] == 200, 20, "the command")
    samples: dict[str, list[dict[str, str]]] = {}
    for port in (worker, metrics):
        for name, labels in parsed(ask(port, "/metrics")[1]):
            samples.setdefault(name, []).append(dict(labels))
    yield Told(samples, json.loads(ask(metrics, "/autoscale")[1]), {"worker": worker, "metrics": metrics})
    stage.end()


def understood(expression: str, told: Told) -> set[str]:
    """The metrics of an expression; AssertionError where it says anything that is not told."""
    met: set[str] = set()
    rest = expression
    for labels in re.findall(r"\bby \(([^()]*)\)", expression):
        names = {name.strip() for name in labels.split(",")}
        known = {label for each in told.samples.values() for sample in each for label in sample}
        assert names <= known | TARGET, (expression, names)
    rest = re.sub(r"\bby \([^()]*\)", " ", rest)
    for found in _SELECTOR.finditer(rest):
        name, matchers, window = found.groups()
        if name in FUNCTIONS | WORDS:
            assert matchers is None, (expression, name)
            continue
        assert name in told.samples, (expression, name)
        assert (window is not None) == bool(re.search(r"_(total|bucket|sum|count)$", name)), (expression, name)
        met.add(name)
        asked = _MATCHER.findall(matchers or "")
        assert ",".join(f'{label}{how}"{value}"' for label, how, value in asked) == (matchers or ""), expression
        for label, how, value in asked:
            values = {sample[label] for sample in told.samples[name]}
            wanted = value.split("|") if how == "=~" else [value]
            assert wanted == ["$queue"] or set(wanted) <= values, (expression, label, wanted, values)
    left = _NUMBER.sub("", _SELECTOR.sub("", rest))
    assert set(left) <= set(" ()<>=/,"), (expression, left)
    assert met, expression
    return met


def rules() -> list[dict[str, Any]]:
    """All of them."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_each_rule_asks_for_what_is_told(told: Told) -> None:
    """Metrics, labels and their values; and its text shows labels that its expression has."""
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) >= 8
    for rule in rules():
        expression = rule["expr"]
        met = understood(expression, told)
        grouped = {label.strip() for each in re.findall(r"\bby \(([^()]*)\)", expression) for label in each.split(",")}
        own = {label for name in met for sample in told.samples[name] for label in sample}
        kept = grouped or (set() if re.match(r"(min|max)\(", expression) else own | TARGET)
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert shown <= kept, rule
        assert re.fullmatch(r"\d+m", rule.get("for", "1m"))


def test_each_panel_asks_for_what_is_told_and_has_its_place(told: Told) -> None:
    """By a data source that can be chosen; no two panels lie on one another."""
    board = json.loads(BOARD.read_text())
    used: set[str] = set()
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            met = understood(target["expr"], told)
            used |= met
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= TARGET | {label for name in met for sample in told.samples[name] for label in sample}
            assert target["datasource"]["uid"] == "${datasource}"
        at = panel["gridPos"]
        places = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not places & taken, panel["title"]
        taken |= places
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    (metric, label) = re.fullmatch(r"label_values\((\w+), (\w+)\)", board["templating"]["list"][1]["query"]).groups()  # type: ignore[union-attr]
    assert all(label in sample for sample in told.samples[metric])
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told.samples}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert families - shown == {
        *("quaff_up", "quaff_queue_parked", "quaff_queue_paused", "quaff_queue_workers"),
        "quaff_worker_start_time_seconds",
    }, "these are for rules, or for nobody"


def test_the_scaler_reads_a_number_that_is_there(told: Told) -> None:
    """At the path, in the format and from the server that the manifest says; its commands are ours."""
    documents = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(KEDA.read_text())}
    scaled = documents["ScaledObject", "shop-worker"]["spec"]
    assert ("Deployment", scaled["scaleTargetRef"]["name"]) in documents
    for trigger in scaled["triggers"]:
        assert (trigger["type"], trigger["metadata"]["format"]) == ("metrics-api", "json")
        url = urlsplit(trigger["metadata"]["url"])
        service = documents["Service", url.hostname]
        assert service["spec"]["ports"][0]["port"] == url.port
        status, body = ask(told.ports["metrics"], url.path + (f"?{url.query}" if url.query else ""))
        assert status == 200
        value: Any = json.loads(body)
        for name in trigger["metadata"]["valueLocation"].split("."):
            value = value[name]
        assert type(value) is int
        assert float(trigger["metadata"]["targetValue"]) > 0
    for kind, name in (("Deployment", "shop-worker"), ("Deployment", "shop-jobs-metrics")):
        pod = documents[kind, name]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        ours, command, *words = container["command"]
        assert ours == "quaff"
        context = program().commands[command].make_context(command, words)
        assert isinstance(context, click.Context)
        where = context.params.get("health") or context.params["serve"]
        assert container["ports"][0]["containerPort"] == int(where.rpartition(":")[2])
        probes = [container[each]["httpGet"] for each in ("livenessProbe", "readinessProbe") if each in container]
        port = told.ports["worker" if command == "worker" else "metrics"]
        assert [ask(port, probe["path"])[0] for probe in probes] == [200] * len(probes)


@pytest.mark.parametrize(
    "wrong",
    [
        "quaff_no_such",
        'quaff_queue_depth{state="no such"}',
        'quaff_queue_depth{sate="queued"}',
        "sum by (no_such) (quaff_queue_depth)",
        "rate(quaff_queue_depth[5m])",
        "quaff_tasks_total",
        "avg_over(quaff_up)",
        "quaff_up % 2",
    ],
)
def test_the_reader_of_expressions_finds_what_is_wrong(wrong: str, told: Told) -> None:
    with pytest.raises((AssertionError, KeyError)):
        understood(wrong, told)

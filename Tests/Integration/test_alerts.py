"""The alert rules and the dashboard that are shipped."""

import json
import re
import urllib.request

import pytest

from harness.daemon import ROOT, run_cli
from harness.ports import free_port

pytestmark = pytest.mark.daemon
NAMES = ROOT / "packaging/prometheus/metrics.txt"


@pytest.fixture(scope="module")
def served(keep, tmp_path_factory):
    """The names of the metrics that the daemon serves; of one that serves none, those that it is to
    serve."""
    place = f"127.0.0.1:{free_port()}"
    settings = {"http": {"listen": place}}
    sample = tmp_path_factory.mktemp("http") / "redpool.yaml"
    sample.write_text(f"http: {{listen: '{place}'}}\n")
    if "http: unknown key" in run_cli("check", sample).stderr:
        return set(NAMES.read_text().split())
    keep.redpool(keep.server(), settings=settings)
    with urllib.request.urlopen(f"http://{place}/metrics", timeout=20) as page:
        return set(re.findall(r"^# TYPE (\S+) ", page.read().decode(), re.M))


def named(text) -> set:
    """The metrics in an expression; a histogram's parts count as the histogram."""
    found = set(re.findall(r"\b(?:redpool|process)_[a-z_]+\b", text))
    return {re.sub(r"_seconds_(bucket|count|sum)$", "_seconds", name) for name in found}


def test_alerts_name_metrics_that_are_served(served):
    text = (ROOT / "packaging/prometheus/redpool.rules.yaml").read_text()
    rules = re.findall(r"- alert: (\w+)\n +expr: (.*)\n", text)
    assert len(rules) == 8 and len({name for name, _ in rules}) == 8
    for name, expression in rules:
        assert named(expression) or "up{" in expression
        assert named(expression) <= served, name


def expressions(panel):
    for target in panel.get("targets", []):
        yield panel["title"], target["expr"]
    for inner in panel.get("panels", []):
        yield from expressions(inner)


def test_the_dashboard_names_metrics_that_are_served(served):
    board = json.loads((ROOT / "packaging/grafana/redpool.json").read_text())
    found = [pair for panel in board["panels"] for pair in expressions(panel)]
    found += [("variable", one.get("definition", "")) for one in board["templating"]["list"]]
    assert len(found) > 20
    for title, expression in found:
        assert named(expression) <= served, title
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]


def test_the_manual_has_each_alert():
    rules = (ROOT / "packaging/prometheus/redpool.rules.yaml").read_text()
    manual = (ROOT / "docs/troubleshooting.md").read_text()
    assert re.findall(r"alert: (\w+)", rules) == re.findall(r"^\| `(Redpool\w+)` \|", manual, re.M)

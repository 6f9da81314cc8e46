"""The alert rules and the dashboard that are shipped."""

import json
import re
import urllib.request

import pytest

from harness.certificates import authority, server_certificate
from harness.daemon import ROOT
from harness.ports import free_port

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def served(keep):
    """The metrics that the daemon serves: the labels of each, by its name."""
    place = f"127.0.0.1:{free_port()}"
    # Its Sentinel and its node are not there: pools that have some have metrics of their own.
    watched = {"listen": f"127.0.0.1:{free_port()}", "sentinels": [f"127.0.0.1:{free_port()}"],
               "primaryName": "mymaster"}
    big = {"listen": f"127.0.0.1:{free_port()}", "cluster": [f"127.0.0.1:{free_port()}"]}
    news = {"listen": f"127.0.0.1:{free_port()}", "upstream": f"127.0.0.1:{free_port()}",
            "pubsub": "shared"}
    server = keep.server(certificate=server_certificate())
    keep.redpool(
        server, pool={"upstream": server.tls.text, "tlsCaFile": authority().file},
        pools={"watched": watched, "big": big, "news": news}, settings={"http": {"listen": place}},
    )
    with urllib.request.urlopen(f"http://{place}/metrics", timeout=20) as page:
        text = page.read().decode()
    made = {name: {"job", "instance"} for name in re.findall(r"^# TYPE (\S+) ", text, re.M)}
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.M):
        made[histogram(name)].update(re.findall(r"(\w+)=\"", labels))
    return made


def histogram(name) -> str:
    """The name of the histogram that this is a part of."""
    return re.sub(r"_seconds_(bucket|count|sum)$", "_seconds", name)


def misnamed(expression, served) -> list:
    """Metrics in an expression that are not served, and labels that none of its metrics has."""
    names = {histogram(name) for name in re.findall(r"\b(?:redpool|process)_[a-z_]+\b", expression)}
    grouped = re.findall(r"\b(?:by|without|ignoring|on) \(([^)]*)\)", expression)
    used = {label.strip() for labels in grouped for label in labels.split(",")}
    used.update(re.findall(r"[{,] *(\w+)(?:=~|!=|=)", expression))
    known = set().union(*(served.get(name, set()) for name in names)) or {"job"}
    return sorted(names - served.keys()) + sorted(used - known)


def test_alerts_name_metrics_that_are_served(served):
    text = (ROOT / "packaging/prometheus/redpool.rules.yaml").read_text()
    rules = re.findall(r"- alert: (\w+)\n +expr: (.*)\n", text)
    assert len(rules) == 16 and len({name for name, _ in rules}) == 16
    for name, expression in rules:
        assert misnamed(expression, served) == [], name


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
        assert misnamed(expression, served) == [], title
    text = " ".join(expression for _, expression in found)
    shown = set(re.findall(r"\bredpool_pubsub_[a-z_]+\b", text))
    assert shown == {name for name in served if name.startswith("redpool_pubsub_")}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]


def test_the_manual_has_each_alert():
    rules = (ROOT / "packaging/prometheus/redpool.rules.yaml").read_text()
    manual = (ROOT / "docs/troubleshooting.md").read_text()
    assert re.findall(r"alert: (\w+)", rules) == re.findall(r"^\| `(Redpool\w+)` \|", manual, re.M)

"""Results as tables, as a plot, and in the READMEs."""

import os
import pathlib
import platform
import re
import statistics
import subprocess

from .contenders import ONE_NODE
from .workloads import WORKLOADS

REFERENCE = "nutcracker"
OURS = "redpool"
DIRECT = "direct"
SHORT = ["c1-one-cpu", "c50", "c50-unix", "c1000", "p16", "p64", "short"]
SHORT_CLUSTER = ["cluster-c50", "cluster-p16", "cluster-mget10"]
ONE_SERVER = "redpool, one server"
SHORT_TLS = ["tls-upstream", "tls-clients", "tls-both", "tls-short", "tls-short-c100"]
PLAIN = "redpool, no TLS"
DIRECT_TLS = "direct, TLS"


def medians(samples):
    """The medians over the rounds, as workload: contender: field."""
    found = {}
    for workload, row in samples.items():
        found[workload] = {}
        for name, runs in row.items():
            if runs:
                found[workload][name] = {
                    field: statistics.median(run[field] for run in runs)
                    for field in runs[0] if runs[0][field] is not None}
    return found


def machine(peers=None):
    """A line about the machine and the programs that the figures come from. `peers` are paths."""
    cpu = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break

    def version(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except FileNotFoundError:
            return "absent"
        found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)
        return found[0] if found else "unknown"
    return (f"{os.cpu_count()} processors ({cpu}), Linux {platform.release().split('-')[0]}, "
            f"redis-server {version('redis-server', '--version')}, "
            f"nutcracker {version('nutcracker', '--version')}, "
            f"haproxy {version('haproxy', '-v')}"
            + "".join(f", {name} {version(path, '-v')}" for name, path in (peers or {}).items()))


def number(value, decimals=2):
    """Three significant digits or so; of values below 20 so many decimals."""
    if value is None:
        return ""
    if value >= 20:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.{decimals}f}"


def ratio(row, field, name, base):
    ours, theirs = row.get(name, {}).get(field), row.get(base, {}).get(field)
    if ours is None or not theirs:
        return ""
    return f"{ours / theirs:.3f}" if ours / theirs < 0.1 else f"{ours / theirs:.2f}"


def table(results, rows, names, field, ratios=(), text=None):
    """A Markdown table of one field, or of what `text` returns for a contender's figures."""
    names = [name for name in names
             if any(field in results[row].get(name, {}) for row in rows)]
    heads = [*names, *(f"{ours} / {base}" for ours, base in ratios)]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for row in rows:
        figures = results[row]
        cells = [text(figures[name]) if text and field in figures.get(name, {})
                 else number(figures.get(name, {}).get(field)) for name in names]
        cells += [ratio(figures, field, ours, base) for ours, base in ratios]
        if any(cells):
            lines.append(f"| {WORKLOADS[row].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def latency(figures, prefix=""):
    return " / ".join(number(figures[prefix + field]) for field in ("p50", "p99", "p999"))


def busy(figures):
    """What shares of a processor the load generator, the proxy and the server took."""
    per_cent = [figures.get(field, 0) * figures["per_second"] / 1e4
                for field in ("load_us", "proxy_us", "server_us")]
    return " / ".join(f"{share:.0f}" for share in per_cent)


def contenders(results, rows):
    """Those of some rows, and of them those that are proxies."""
    names = list(dict.fromkeys(name for row in rows for name in results[row]))
    return names, [name for name in names if not name.startswith("direct")]


def conditions(about):
    """What the figures are of."""
    share = about.get("share", 1)
    parts = [] if share == 1 else [f"{share:g} of the commands"]
    return "; ".join([
        about["machine"], f"medians of {about['rounds']} rounds", *parts,
        f"load of the machine before: {about['load']:.1f}."])


def add_sums(results, rows):
    """Adds to each contender's figures the CPU of all processes together."""
    for row in rows:
        for figures in results[row].values():
            figures["all_us"] = sum(
                figures.get(field, 0) for field in ("load_us", "proxy_us", "server_us"))


def with_tls(results, about):
    """The tables of the workloads with TLS."""
    rows = [row for row in WORKLOADS if row in results and WORKLOADS[row].tls]
    names, proxies = contenders(results, rows)
    logins = [name for name in proxies if name.startswith(OURS) and name != PLAIN]
    against = [(name, DIRECT_TLS) for name in logins]
    add_sums(results, rows)
    return "\n\n".join([
        conditions(about),
        "Proxy CPU, µs per command or session:",
        table(results, rows, proxies, "proxy_us", [(OURS, "haproxy"), (OURS, PLAIN)]),
        "Server CPU, µs, in the same units:",
        table(results, rows, names, "server_us", against),
        "Load generator, proxy and server together, CPU in µs:",
        table(results, rows, names, "all_us", against),
        "Per second:",
        table(results, rows, names, "per_second", against),
        "How busy, in % of one processor: load generator / proxy / server:",
        table(results, rows, names, "per_second", text=busy),
        "Latency, µs, p50 / p99 / p99.9:",
        table(results, rows, names, "p50", text=latency),
        "Peak memory, MB:",
        table(results, rows, proxies, "peak_mb"),
        "Most connections to the server at once:",
        table(results, rows, names, "upstreams"),
    ])


def with_cluster(results, about):
    """The tables of the workloads in front of a cluster."""
    rows = [row for row in WORKLOADS if row in results and WORKLOADS[row].nodes > 1]
    names, proxies = contenders(results, rows)

    def against(*pairs):
        return [(name, base) for name, base in pairs if {name, base} <= set(names)]
    add_sums(results, rows)
    both = against((OURS, ONE_SERVER), (OURS, "predixy"))
    spread = against(*((name, name + ONE_NODE) for name in names), (OURS, "predixy"))
    return "\n\n".join([
        conditions(about),
        "Proxy CPU, µs per command:",
        table(results, rows, proxies, "proxy_us", both),
        "CPU of all servers together, µs per command:",
        table(results, rows, names, "server_us", [*both, *against((OURS, "direct"))]),
        "Load generator, proxy and servers together, CPU in µs per command:",
        table(results, rows, names, "all_us", [*both, *against((OURS, "direct"))]),
        "Commands per second:",
        table(results, rows, names, "per_second", [*both, *against((OURS, "direct"))]),
        "Latency of a whole batch, µs, p50 / p99 / p99.9; the ratios are of p50:",
        table(results, rows, names, "p50", spread, text=latency),
        "Peak memory, MB:",
        table(results, rows, proxies, "peak_mb"),
        "Most connections to the servers at once:",
        table(results, rows, names, "upstreams"),
    ])


def with_listeners(results, about):
    """The tables of the workloads with many subscribers."""
    rows = [row for row in WORKLOADS if row in results and WORKLOADS[row].listeners]
    delivered = [row for row in rows if not WORKLOADS[row].rate]
    beside = [row for row in rows if WORKLOADS[row].rate]
    names = contenders(results, rows)[0]
    both = [(OURS, DIRECT)]
    parts = [conditions(about)]
    if delivered:
        parts += [
            "CPU of each process, µs per delivered message:", spent(results, delivered),
            "Time until the last listener has it, ms, p50 / p99; the ratio is of p50:",
            table(results, delivered, names, "last_p50", both, text=last),
            "Delivered messages per second:",
            table(results, delivered, names, "per_second", both),
            "Subscribers of the message that the server itself sees:",
            table(results, delivered, names, "receivers"),
            "Peak memory, MB:",
            table(results, delivered, names, "peak_mb"),
        ]
    if beside:
        parts += [
            "Latency of others, µs, p50 / p99 / p99.9, without messages:",
            table(results, beside, names, "quiet_p50",
                  text=lambda figures: latency(figures, "quiet_")),
            "While messages go to all listeners:",
            table(results, beside, names, "p50", text=latency),
            "Meanwhile, clients of a server beside that does nothing else:",
            table(results, beside, names, "idle_p50",
                  text=lambda figures: latency(figures, "idle_")),
            "What the messages add to the p99 of others, ms:",
            table(results, beside, names, "added_ms"),
            "Time until the last listener has a message meanwhile, ms, p50 / p99:",
            table(results, beside, names, "last_p50", both, text=last),
        ]
    return "\n\n".join(parts)


def spent(results, rows):
    """A table of what server and proxy take for a delivered message."""
    columns = [(DIRECT, "server_us"), (OURS, "server_us"), (OURS, "proxy_us")]
    lines = ["| | server, direct | server behind redpool | redpool | redpool / server, direct "
             "| server behind redpool / direct |", "| --- |" + " ---: |" * 5]
    for row in rows:
        server, behind, proxy = (results[row].get(name, {}).get(field) for name, field in columns)
        cells = [number(server), number(behind, 3), number(proxy)]
        cells += [f"{value / server:.3g}" if server and value is not None else ""
                  for value in (proxy, behind)]
        lines.append(f"| {WORKLOADS[row].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def last(figures):
    return " / ".join(number(figures[field] / 1000) for field in ("last_p50", "last_p99"))


def full(results, about):
    """The tables of Benchmarks/README.md, without those of TLS."""
    rows = [row for row in WORKLOADS
            if row in results and row != "idle" and not WORKLOADS[row].tls
            and WORKLOADS[row].nodes == 1 and not WORKLOADS[row].listeners]
    names, proxies = contenders(results, rows)
    parts = [
        conditions(about),
        "Proxy CPU, µs per command (of short sessions: per session; of transactions: per "
        "transaction; of queues: per job):",
        table(results, rows, proxies, "proxy_us", [(OURS, REFERENCE), (OURS, "floor")]),
        "Server CPU, µs, in the same units:",
        table(results, rows, names, "server_us", [(OURS, "direct")]),
        "Per second, in the same units:",
        table(results, rows, names, "per_second",
              [(OURS, "direct"), (OURS, REFERENCE)]),
        "Latency, µs, p50 / p99 / p99.9 (of a whole batch, session or transaction):",
        table(results, rows, names, "p50", text=latency),
        "Peak memory, MB:",
        table(results, rows, proxies, "peak_mb"),
        "Most connections to the server at once:",
        table(results, rows, names, "upstreams"),
    ]
    if "idle" in results:
        counts = {int(f["idle_clients"]) for f in results["idle"].values()}
        parts += [f"Memory, bytes per idle client, over {max(counts):,} of them:",
                  table(results, ["idle"], proxies, "idle_bytes")]
    return "\n\n".join(parts)


def short(results, about):
    """The table of the top README: CPU of the proxies, and of the server with and without
    Redpool."""
    columns = [("nutcracker", "proxy_us"), ("haproxy", "proxy_us"), (OURS, "proxy_us"),
               ("direct", "server_us"), (OURS, "server_us")]
    lines = [
        "| | proxy: twemproxy | proxy: haproxy | **proxy: Redpool** | server: no proxy "
        "| **server: behind Redpool** |",
        "| --- |" + " ---: |" * len(columns)]
    for row in SHORT:
        figures = results.get(row, {})
        cells = [number(figures.get(name, {}).get(field)) for name, field in columns]
        if any(cells):
            lines.append(f"| {WORKLOADS[row].title} | " + " | ".join(cells) + " |")
    return "\n\n".join([
        "CPU time in µs per command; for a short session, in µs per session of three commands:",
        "\n".join(lines),
        f"{about['machine']} (nutcracker is the program of twemproxy); medians of "
        f"{about['rounds']} rounds.",
    ])


def short_cluster(results, about):
    """The table of clusters in the top README, without columns that nobody measured."""
    columns = [("proxy: predixy", "predixy", "proxy_us"),
               ("**proxy: Redpool**", OURS, "proxy_us"),
               ("proxy: Redpool, one server", ONE_SERVER, "proxy_us"),
               ("servers: clients that know the cluster", "direct", "server_us"),
               ("**servers: behind Redpool**", OURS, "server_us")]
    rows = [row for row in SHORT_CLUSTER if row in results]
    columns = [column for column in columns if any(column[1] in results[row] for row in rows)]
    lines = ["| | " + " | ".join(title for title, _, _ in columns) + " |",
             "| --- |" + " ---: |" * len(columns)]
    for row in rows:
        cells = [number(results[row].get(name, {}).get(field)) for _, name, field in columns]
        lines.append(f"| {WORKLOADS[row].title} | " + " | ".join(cells) + " |")
    return "\n\n".join([
        "In front of a cluster of three, CPU time in µs per command, of the servers together:",
        "\n".join(lines), conditions(about)])


def short_tls(results, about):
    """The table of TLS in the top README. Without a proxy the clients speak TLS to the server."""
    columns = [("haproxy", "proxy_us"), (OURS, "proxy_us"), (PLAIN, "proxy_us"),
               (DIRECT_TLS, "server_us"), (OURS, "server_us")]
    lines = [
        "| | proxy: haproxy | **proxy: Redpool** | proxy: Redpool without TLS "
        "| server: no proxy, TLS clients | **server: behind Redpool** |",
        "| --- |" + " ---: |" * len(columns)]
    for row in SHORT_TLS:
        figures = results.get(row, {})
        cells = [number(figures.get(name, {}).get(field)) for name, field in columns]
        if any(cells):
            lines.append(f"| {WORKLOADS[row].title} | " + " | ".join(cells) + " |")
    return "\n\n".join(["\n".join(lines), conditions(about)])


def rewrite(path, text, name="benchmarks"):
    """Puts `text` between the markers of a file."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text()
    head, found, rest = old.partition(begin)
    tail = rest.partition(end)
    if not found or not tail[1]:
        raise SystemExit(f"{path} lacks {begin} or {end}")
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail[2]}")


def plot(results, path, about):
    """The proxies' CPU in relation to nutcracker's, as SVG bars."""
    colours = {"redpool": "#c6302b", "floor": "#999999", "nutcracker -m 512": "#7aa6c2",
               "haproxy": "#3b6e8f"}
    rows = [row for row in WORKLOADS
            if results.get(row, {}).get(REFERENCE, {}).get("proxy_us")]
    left, top, height, group, most = 50, 50, 300, 96, 2.0
    width = left + group * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 130}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="18" font-size="14">CPU of the proxy per command, '
        'nutcracker as packaged = 1</text>']
    for index, (name, colour) in enumerate(colours.items()):
        x = left + index * 130
        parts.append(f'<rect x="{x}" y="28" width="10" height="10" fill="{colour}"/>'
                     f'<text x="{x + 14}" y="37">{name}</text>')
    for step in range(0, 9):
        y = top + height * (1 - step / 8)
        line = "#444" if step == 4 else "#ddd"
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y}" y2="{y}" stroke="{line}"/>'
                     f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{step / 4:g}</text>')
    for place, row in enumerate(rows):
        x = left + place * group + 8
        base = results[row][REFERENCE]["proxy_us"]
        for index, (name, colour) in enumerate(colours.items()):
            value = results[row].get(name, {}).get("proxy_us")
            if value is None:
                continue
            bar = min(value / base, most) / most * height
            parts.append(
                f'<rect x="{x + index * 20}" y="{top + height - bar:.1f}" width="18" '
                f'height="{bar:.1f}" fill="{colour}"><title>{name}: {value:.2f} µs, '
                f'{value / base:.2f}</title></rect>')
        parts.append(f'<text transform="translate({x + 20},{top + height + 14}) rotate(25)">'
                     f'{WORKLOADS[row].title}</text>')
    parts.append(f'<text x="{left}" y="{height + 124}" fill="#666">{about["machine"]}</text></svg>')
    path.write_text("\n".join(parts) + "\n")

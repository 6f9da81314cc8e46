"""Tests that fail through Redpool and not on a direct connection, each with its reason.

docs/compatibility.md says the same to users.
"""

import re

# (pattern for the suite's name, pattern for the test's name, reason)
KNOWN = [
    (
        r"runtest",
        r"MULTI and script timeout",
        "MULTI in database 9 needs a connection that may SELECT, which the server refuses while"
        " the script runs: -BUSY comes for MULTI already.",
    ),
    (
        r"runtest",
        r"unit/introspection: CLIENT KILL SKIPME",
        "INFO connected_clients counts upstreams.",
    ),
    (
        r"runtest",
        r"unit/replybufsize: verify reply buffer limits",
        "It waits for the reply buffer of one client to shrink and grow, in CLIENT LIST's rbs."
        " Clients have none on the server; the field is copied from an upstream.",
    ),
    (
        r"runtest",
        r"unit/querybuf: query buffer resized correctly",
        "The same for the query buffer of one client, in CLIENT LIST's qbuf and qbuf-free.",
    ),
    (
        r"Perl Redis",
        r"t/01-basic\.t (203|end)$",
        "After SHUTDOWN it wants connecting to be refused; Redpool accepts, and answers for the"
        " server that is down.",
    ),
    (
        r"Perl Redis",
        r"t/50-fork_safe\.t (4|end)$",
        "It counts two clients in INFO's connected_clients, which counts upstreams.",
    ),
]


def reason(suite, test) -> str:
    """Why this test may fail, empty when nothing is known."""
    for suites, tests, why in KNOWN:
        if re.search(suites, suite) and re.search(tests, test):
            return why
    return ""


def stale(runs) -> list:
    """Entries whose tests have run, in (suite, outcome, failures) of `runs`, with no failure."""
    return [f"{suites}: {tests}" for suites, tests, _ in KNOWN if _unneeded(suites, tests, runs)]


def _unneeded(suites, tests, runs) -> bool:
    mine = [run for run in runs if re.search(suites, run[0])]
    ran = any(re.search(tests, name) for _, outcome, _ in mine for name in outcome.ran)
    return ran and not any(re.search(tests, name) for _, _, failed in mine for name in failed)

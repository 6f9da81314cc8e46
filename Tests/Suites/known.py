"""Tests that fail through Redpool and not on a direct connection, each with its reason.

docs/compatibility.md says the same to users.
"""

import re
from typing import NamedTuple


class Known(NamedTuple):
    """Patterns for the names of suites and tests, and why these fail."""

    suites: str
    tests: str
    why: str
    # False where chance lets it pass now and then.
    always: bool = True
    # A pattern for what it says.
    says: str = ""


KNOWN = [
    Known(
        r"runtest",
        r"MULTI and script timeout",
        "MULTI in database 9 needs a connection that may SELECT, which the server refuses while"
        " the script runs: -BUSY comes for MULTI already.",
    ),
    Known(
        r"runtest",
        r"unit/introspection: CLIENT KILL SKIPME",
        "INFO connected_clients counts upstreams.",
        # There may be as many of them as clients.
        always=False,
    ),
    Known(
        r"runtest",
        r"unit/introspection-2: command stats for scripts",
        "Before its first script of this server each thread sends one of its own, to see whether"
        " scripts can make replies up; INFO commandstats counts that EVAL.",
        # All threads may have asked before.
        always=False,
    ),
    Known(
        r"runtest",
        r"unit/replybufsize: verify reply buffer limits",
        "It waits for the reply buffer of one client to shrink and grow, in CLIENT LIST's rbs."
        " Clients have none on the server; the field is copied from an upstream.",
    ),
    Known(
        r"runtest",
        r"unit/querybuf: query buffer resized correctly",
        "The same for the query buffer of one client, in CLIENT LIST's qbuf and qbuf-free.",
    ),
    Known(
        r"Perl Redis",
        r"t/01-basic\.t (203|end)$",
        "After SHUTDOWN it wants connecting to be refused; Redpool accepts, and answers for the"
        " server that is down.",
    ),
    Known(
        r"Perl Redis",
        r"t/50-fork_safe\.t (1|4|end)$",
        "It counts one client and then two in INFO's connected_clients, which counts upstreams: one"
        " at least for each thread.",
    ),
]


def reason(table, suite, test, message) -> str:
    """Why this test may fail, empty when nothing is known."""
    for known in table:
        if re.search(known.suites, suite) and re.search(known.tests, test):
            if re.search(known.says, message):
                return known.why
    return ""


def by_message(table, message) -> bool:
    """Whether what a test says is reason enough, whatever its name."""
    return any(known.says and not known.tests and re.search(known.says, message) for known in table)


def stale(runs) -> list:
    """Entries whose tests have run, in (suite, outcome, failures) of `runs`, with no failure."""
    tables = {id(suite.known): suite.known for suite, _, _ in runs}
    return [
        f"{known.suites}: {known.tests}{known.says}"
        for table in tables.values() for known in table if _unneeded(known, runs)]


def _unneeded(known, runs) -> bool:
    mine = [run for run in runs if re.search(known.suites, run[0].name)]
    ran = any(re.search(known.tests, name) for _, outcome, _ in mine for name in outcome.ran)
    fails = any(
        re.search(known.tests, name) and re.search(known.says, outcome.messages.get(name, ""))
        for _, outcome, failed in mine for name in failed)
    return known.always and ran and not fails

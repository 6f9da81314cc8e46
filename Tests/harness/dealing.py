"""How pytest-xdist distributes the tests to its workers."""

import re

from xdist.scheduler import LoadFileScheduling

# The server for which a test's module fixtures are made: the first word in the test's brackets.
_SERVER = re.compile(r"\[((?:redis|valkey)-[^]-]+)")


class Dealing(LoadFileScheduling):
    """As --dist loadfile: a file goes to one worker, which makes the fixtures of its module once.

    But if fixtures are made once per server, each server's tests may go to another worker, and
    tests without module fixtures may go to any. Otherwise a few files would take longer than all
    the others.
    """

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if file.endswith(("/test_random.py", "/test_random_subscribers.py")):
            return nodeid
        server = _SERVER.search(test)
        return f"{file} {server[1]}" if server else file

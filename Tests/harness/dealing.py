"""How pytest-xdist deals the tests out to its workers."""

import re

from xdist.scheduler import LoadFileScheduling

# The server that a test's module has its fixtures made for, the first word in its brackets.
_SERVER = re.compile(r"\[((?:redis|valkey)-[^]-]+)")


class Dealing(LoadFileScheduling):
    """As --dist loadfile: a file goes to one worker, where the fixtures of its module are made once.

    But what is made once for each server can be made by a worker for each, and what is made for no
    module can go anywhere: without that a few files would take longer than all the others.
    """

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if file.endswith("/test_random.py"):
            return nodeid
        server = _SERVER.search(test)
        return f"{file} {server[1]}" if server else file

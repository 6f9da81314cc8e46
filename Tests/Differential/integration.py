"""The integration tests' harness, made importable from here."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "Integration"))

from harness.daemon import Redpool  # noqa: E402
from harness.server import DEFAULT, RedisServer  # noqa: E402
from harness.waiting import eventually  # noqa: E402
from harness.wire import Closed, Connection, ErrorReply, Push, encode  # noqa: E402

__all__ = [
    "DEFAULT", "Closed", "Connection", "ErrorReply", "Push", "Redpool", "RedisServer", "encode",
    "eventually",
]

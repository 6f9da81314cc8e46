"""A server with Redpool in front, for suites that start servers of their own."""

import pathlib
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from harness.daemon import BINARY, PUBSUB, yaml  # noqa: E402
from harness.server import RedisServer  # noqa: E402


def serve(settings, listen, *options):
    """Runs both until this process is ended, as a suite ends a server: Redpool listens there."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = RedisServer(*options)
    try:
        with tempfile.TemporaryDirectory(prefix="redpool-suite-") as folder:
            pool = {"pubsub": PUBSUB} if PUBSUB else {}
            pool |= settings["pools"]["main"] | {"upstream": server.tcp.text, "listen": listen}
            path = pathlib.Path(folder) / "redpool.yaml"
            path.write_text(yaml(settings | {"pools": {"main": pool}}))
            redpool = subprocess.Popen([BINARY, "run", "--config", str(path)])
            try:
                redpool.wait()
            finally:
                # A server does not wait for its clients to leave, as Redpool would.
                redpool.kill()
                redpool.wait()
    finally:
        server.close()

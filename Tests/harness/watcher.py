"""Watches the server in the background."""

import threading

from .daemon import DIRECT


class MaxOpenWatcher:
    """Samples the server's upstream connections. More than `max_open` of them fail the test.

    Use it with `with`. `peak` is the highest number seen, `ids` every upstream ever seen. The
    server may accept a connection before it notices the end of one that was closed earlier, so only
    those in two samples in a row count. Without a daemon (REDPOOL_DIRECT=1) it does nothing.
    """

    def __init__(self, server, max_open, interval=0.002):
        self._server, self._max_open, self._interval = server, max_open, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._failure = None
        self.peak, self.samples, self.ids = 0, 0, set()

    def __enter__(self):
        if not DIRECT:
            self._thread.start()
        return self

    def __exit__(self, kind, *_):
        if DIRECT:
            return
        self._stop.set()
        self._thread.join(60)
        if kind is not None:
            return
        assert self._failure is None, f"the watcher failed: {self._failure!r}"
        assert self.samples > 0, "the watcher never saw the server"
        assert self.peak <= self._max_open, f"{self.peak} upstreams, maxOpen {self._max_open}"

    def _watch(self):
        try:
            with self._server.connect() as control:
                before = set()
                while True:
                    now = {row["id"] for row in self._server.upstreams(control)}
                    self.samples += 1
                    self.peak = max(self.peak, len(now & before))
                    self.ids |= now & before
                    before = now
                    if self._stop.wait(self._interval):
                        return
        except (OSError, AssertionError) as failure:
            self._failure = failure

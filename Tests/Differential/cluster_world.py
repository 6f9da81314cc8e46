"""One server, and a cluster of three behind a Redpool: what scripts with keys of one slot see."""

from harness.cluster import Cluster
from harness.daemon import Redpool
from harness.server import RedisServer
from harness.wire import encode
from tagged import Tagger
from world import POOL, PROMPT, burn_ids, prepare


class ClusterWorld:
    """The two sides, as in World: `direct` and `proxied` are addresses."""

    def __init__(self, server, is_left_out):
        self.server = server
        self._started = []
        try:
            self.plain = self._keep(RedisServer(*PROMPT, binary=server.path))
            self.cluster = self._keep(
                Cluster(replicas=0, binary=server.path, options=PROMPT))
            for node in (self.plain, *self.cluster.nodes):
                prepare(node)
            self.redpool = self._keep(Redpool(None, pool=self.cluster.settings | POOL))
            self.direct, self.proxied = self.plain.tcp, self.redpool.tcp
            self.tagger = Tagger(self.plain, is_left_out)
            self.cluster.wait_for_map(self.redpool)
            for address in (self.direct, self.proxied, *(n.address for n in self.cluster.nodes)):
                burn_ids(address)
            self._controls = [node.connect() for node in (self.plain, *self.cluster.nodes)]
        except BaseException:
            self.close()
            raise

    def _keep(self, made):
        self._started.append(made)
        return made

    def empty(self):
        for control in self._controls:
            control.send(encode("FLUSHALL"))
        for control in self._controls:
            assert control.read() == b"OK"

    def close(self):
        for control in getattr(self, "_controls", ()):
            control.close()
        while self._started:
            self._started.pop().close()

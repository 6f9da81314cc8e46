"""The workloads to measure, by name."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Workload:
    """One row of the tables. `units` are batches, sessions, transactions or jobs (load.c)."""

    title: str
    units: int
    mode: str = "mix"
    clients: int = 50
    pipeline: int = 1
    size: int = 16
    keys: int = 1000
    # What is spoken on that side: tcp, unix or tls.
    client_side: str = "tcp"
    upstream_side: str = "tcp"
    password: bool = False
    rate: int | None = None
    # The number of parts in which the units are sent, with the contenders in turns. The figures are
    # the medians of the parts.
    slices: int = 1
    # What the contender must support.
    needs: str = ""
    # All processes share one processor. Waking another processor costs more than the work itself.
    one_processor: bool = False
    # Behind the contenders: one server, or the nodes of a cluster.
    nodes: int = 1
    # Whether the contenders are measured with the keys of one node as well.
    keys_of_one: bool = False
    # Subscribers on so many channels. `units` are batches of messages then (listen.c); with a rate,
    # commands of others.
    listeners: int = 0
    channels: int = 1

    @property
    def tls(self):
        return "tls" in (self.client_side, self.upstream_side)

    @property
    def unit(self):
        return {"mix": "command", "rate": "command", "mget": "command", "short": "session",
                "multi": "transaction", "steps": "transaction", "queue": "job",
                "idle": "client", "pubsub": "message"}[self.mode]


WORKLOADS = {
    "c1": Workload("1 client", 20_000, clients=1),
    "c1-one-cpu": Workload("1 client, all on one processor", 40_000, clients=1,
                           one_processor=True),
    "c50": Workload("50 clients", 150_000),
    "c50-unix": Workload("50 clients, unix socket to the proxy", 150_000, client_side="unix"),
    "c50-tcp-unix": Workload("50 clients, unix socket to the server", 150_000,
                             upstream_side="unix"),
    "c50-unix-unix": Workload("50 clients, unix sockets on both sides", 150_000,
                              client_side="unix", upstream_side="unix"),
    "c1000": Workload("1,000 clients", 150_000, clients=1000),
    "c5000": Workload("5,000 clients", 150_000, clients=5000),
    "p16": Workload("50 clients, pipeline 16", 60_000, pipeline=16),
    "p16-unix": Workload("50 clients, pipeline 16, unix socket", 60_000, pipeline=16,
                         client_side="unix"),
    "p64": Workload("50 clients, pipeline 64", 25_000, pipeline=64),
    "p16-c1000": Workload("1,000 clients, pipeline 16", 60_000, clients=1000, pipeline=16),
    "1k": Workload("50 clients, 1 KB", 120_000, size=1024),
    "64k": Workload("8 clients, 64 KB", 15_000, clients=8, size=65536, keys=100),
    "1m": Workload("4 clients, 1 MB", 1_000, clients=4, size=1 << 20, keys=10),
    "short": Workload("short sessions", 12_000, mode="short", clients=16),
    "short-unix": Workload("short sessions, unix socket", 12_000, mode="short", clients=16,
                           client_side="unix"),
    "short-auth": Workload("short sessions, server with AUTH", 8_000, mode="short", clients=16,
                           password=True),
    "rate": Workload("50 clients, 20,000 commands/s", 120_000, mode="rate", rate=20_000,
                     slices=12),
    "multi": Workload("transactions, in one write", 20_000, mode="multi", needs="multi"),
    "steps": Workload("transactions, step by step", 8_000, mode="steps", clients=20,
                      needs="multi"),
    "queue": Workload("20 blocking queues", 20_000, mode="queue", clients=40, needs="block"),
    # In turns, because a few per cent count. On one processor, because the load generator takes
    # longer with TLS: on two the proxy would find fewer commands at a time, and be compared by that.
    "tls-upstream": Workload("TLS upstream, 50 clients, all on one processor", 60_000,
                             upstream_side="tls", slices=12, one_processor=True),
    "tls-clients": Workload("TLS clients, 50 clients, all on one processor", 60_000,
                            client_side="tls", slices=12, one_processor=True),
    "tls-both": Workload("TLS both, 50 clients, all on one processor", 60_000, client_side="tls",
                         upstream_side="tls", slices=12, one_processor=True),
    "tls-upstream-p16": Workload("TLS upstream, 50 clients, pipeline 16, all on one processor",
                                 12_000, pipeline=16, upstream_side="tls", slices=12,
                                 one_processor=True),
    "tls-short": Workload("TLS upstream, short sessions, server with AUTH", 16_000, mode="short",
                          clients=16, password=True, upstream_side="tls", slices=8),
    "tls-short-c100": Workload("TLS upstream, short sessions of 100 clients, server with AUTH",
                               24_000, mode="short", clients=100, password=True,
                               upstream_side="tls", slices=8),
    "tls-both-short": Workload("TLS both, short sessions, server with AUTH", 16_000, mode="short",
                               clients=16, password=True, client_side="tls", upstream_side="tls",
                               slices=8),
    "idle": Workload("10,000 idle clients", 10_000, mode="idle"),
    "cluster-c50": Workload("cluster, 50 clients", 150_000, nodes=3),
    "cluster-p16": Workload("cluster, 50 clients, pipeline 16", 60_000, pipeline=16, nodes=3),
    "cluster-mget10": Workload("cluster, 50 clients, MGET of ten keys in ten slots", 60_000,
                               mode="mget", nodes=3),
    # In turns, because latencies of one client are compared.
    "cluster-lanes": Workload("cluster, 1 client, pipeline 16", 24_000, clients=1, pipeline=16,
                              slices=12, nodes=3, keys_of_one=True),
    "cluster-lanes-one-cpu": Workload("cluster, 1 client, pipeline 16, all on one processor",
                                      24_000, clients=1, pipeline=16, slices=12,
                                      one_processor=True, nodes=3, keys_of_one=True),
    # In turns. Every listener has a message of 100 bytes before the next one is published, unless
    # said.
    "pubsub-1000": Workload("1,000 on one channel", 800, mode="pubsub", size=100, slices=8,
                            listeners=1000),
    "pubsub-10000": Workload("10,000 on one channel", 160, mode="pubsub", size=100, slices=8,
                             listeners=10_000),
    "pubsub-100-channels": Workload("10,000 on 100 channels", 16_000, mode="pubsub", size=100,
                                    slices=8, listeners=10_000, channels=100),
    "pubsub-p16": Workload("1,000 on one channel, PUBLISH in pipelines of 16", 480, mode="pubsub",
                           size=100, pipeline=16, slices=8, listeners=1000),
    "pubsub-10k": Workload("1,000 on one channel, 10 KB", 400, mode="pubsub", size=10_240,
                           slices=8, listeners=1000),
    "pubsub-others": Workload("50 clients, 5,000 commands/s, 10,000 on one channel", 60_000,
                              mode="pubsub", size=100, slices=6, listeners=10_000, rate=5_000),
}
CLUSTER = [name for name, workload in WORKLOADS.items() if workload.nodes > 1]
PUBSUB = [name for name, workload in WORKLOADS.items() if workload.listeners]
QUICK = ["c1", "c1-one-cpu", "c50", "c50-unix", "c1000", "p16", "p64", "short", "rate"]

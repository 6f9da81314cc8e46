"""Who is compared, and in which workloads."""

import shutil

# What each contender supports besides plain commands.
ABILITIES = {
    "direct": {"multi", "block"},
    "direct, TLS": {"multi", "block", "tls"},
    "direct, TLS resumed": {"tls"},
    "nutcracker": set(),
    "nutcracker -m 512": set(),
    "haproxy": {"multi", "block", "tls"},
    "floor": set(),
    "predixy": {"cluster"},
    "redpool": {"multi", "block", "tls"},
    "redpool, own AUTH": {"multi", "block", "tls"},
    "redpool, client logins": {"multi", "block", "tls"},
    "redpool, no TLS": {"tls"},
    "direct, keys of one node": {"cluster"},
    "predixy, keys of one node": {"cluster"},
    "redpool, keys of one node": {"cluster"},
    "redpool, one server": {"cluster"},
}
# The first authenticates by itself, and its clients do not. Of the second the clients log in to it,
# and it to the server.
PASSWORD_ONLY = {"redpool, own AUTH", "redpool, client logins"}
# What TLS costs is compared with the same in plain.
TLS_ONLY = {"direct, TLS resumed", "redpool, no TLS"}
# What a cluster costs is compared with one server and, where a row asks for it, with one node.
# The clients of *direct* know the cluster.
IN_CLUSTERS = {"direct", "predixy", "redpool", "redpool, one server"}
ONE_NODE = ", keys of one node"
# With subscribers the server itself is compared with Redpool, which shares their subscriptions.
SHARING = "redpool"
WITH_LISTENERS = ["direct", SHARING]
# They have no package: their paths are options.
BUILT_BY_HAND = {"predixy"}


def takes_part(name, workload):
    """Whether a contender has a place in the row of a workload."""
    abilities = ABILITIES[name]
    if workload.listeners:
        return name in WITH_LISTENERS
    if workload.nodes > 1:
        return name in IN_CLUSTERS or workload.keys_of_one and name.endswith(ONE_NODE)
    if "cluster" in abilities:
        return False
    if workload.needs and workload.needs not in abilities:
        return False
    if name in PASSWORD_ONLY and not workload.password:
        return False
    if name == "direct, TLS" and not workload.password and not workload.tls:
        return False
    if name == "direct, TLS resumed" and workload.mode != "short":
        return False
    if workload.tls:
        return "tls" in abilities
    if name in TLS_ONLY:
        return False
    if name == "floor" and workload.password:
        return False
    return not (name.startswith("direct") and workload.mode == "idle")


def is_installed(name, peers):
    """Whether the program of a contender is here; `peers` are paths of those built by hand."""
    program = name.split()[0].rstrip(",")
    if program in BUILT_BY_HAND:
        return program in peers
    if program not in ("nutcracker", "haproxy"):
        return True
    return bool(shutil.which(program) or shutil.which(program, path="/usr/sbin"))


def takes_cluster(name, workload):
    """Whether a contender has a cluster behind it in a workload, and not one server."""
    return workload.nodes > 1 and name != "redpool, one server"


def keys_of_one(name, workload):
    """The number of nodes, of which the first has all keys that a contender gets, or None."""
    return workload.nodes if name.endswith(ONE_NODE) else None


def client_side(name, workload):
    """What a contender's clients speak: tcp, unix or tls."""
    if name.startswith("direct, TLS"):
        return "tls"
    if name == "redpool, no TLS":
        return "tcp"
    return workload.client_side


def upstream_side(name, workload):
    """What the server is spoken to by a contender: tcp, unix or tls."""
    return "tcp" if name == "redpool, no TLS" else workload.upstream_side


def units(name, workload):
    """What a contender is measured over. A session with a handshake takes so much longer that an
    eighth gives figures as good."""
    shakes_hands = workload.mode == "short" and client_side(name, workload) == "tls"
    return workload.units // (8 if shakes_hands else 1)

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
    "redpool": {"multi", "block", "tls"},
    "redpool, own AUTH": {"multi", "block", "tls"},
    "redpool, client logins": {"multi", "block", "tls"},
    "redpool, no TLS": {"tls"},
}
# The first authenticates by itself, and its clients do not. Of the second the clients log in to it,
# and it to the server.
PASSWORD_ONLY = {"redpool, own AUTH", "redpool, client logins"}
# What TLS costs is compared with the same in plain.
TLS_ONLY = {"direct, TLS resumed", "redpool, no TLS"}


def takes_part(name, workload):
    """Whether a contender has a place in the row of a workload."""
    abilities = ABILITIES[name]
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


def is_installed(name):
    program = name.split()[0].rstrip(",")
    if program not in ("nutcracker", "haproxy"):
        return True
    return bool(shutil.which(program) or shutil.which(program, path="/usr/sbin"))


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

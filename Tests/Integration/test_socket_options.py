"""What the kernel is told about connections: options are read from the daemon's own sockets."""

import ctypes
import errno
import os
import socket

import pytest

from harness.waiting import eventually

pytestmark = pytest.mark.daemon

PIDFD_GETFD = 438

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
KEEPALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
IDLE = (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
INTERVAL = (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
COUNT = (socket.IPPROTO_TCP, socket.TCP_KEEPCNT)


def sockets(pid):
    """Copies of all connected sockets of a process, by their peers' addresses."""
    library = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        copy = library.syscall(PIDFD_GETFD, process, int(name), 0)
        if copy < 0:
            error = ctypes.get_errno()
            if error == errno.EBADF:  # Closed since it was listed.
                continue
            os.close(process)
            pytest.skip(f"another process's descriptors are out of reach: {os.strerror(error)}")
        try:
            its = socket.socket(fileno=copy)
            found[its.getpeername()[:2]] = its
        except OSError:
            # No socket, or one that listens.
            continue
    os.close(process)
    return found


OPTIONS = (NODELAY, KEEPALIVE, IDLE, INTERVAL, COUNT)


@pytest.mark.parametrize("family", ["tcp", "tcp6"])
def test_clients_inherit_what_their_listener_was_told(launch, family):
    redpool = launch.redpool(launch.server(), pool={"keepalive": "70s"})
    address = getattr(redpool, family)
    with socket.create_connection((address.host, address.port)) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        its = sockets(redpool.process.pid)[client.getsockname()[:2]]
    assert [its.getsockopt(*option) for option in OPTIONS] == [1, 1, 70, 10, 3]


def test_upstreams(launch):
    server = launch.server()
    redpool = launch.redpool(server, pool={"keepalive": "70s"})
    its = eventually(
        lambda: sockets(redpool.process.pid).get((server.address.host, server.address.port)),
        what="a connection to the server",
    )
    assert [its.getsockopt(*option) for option in OPTIONS] == [1, 1, 70, 10, 3]


def test_no_keepalive(launch):
    redpool = launch.redpool(launch.server(), pool={"keepalive": "0s"})
    with socket.create_connection((redpool.tcp.host, redpool.tcp.port)) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        its = sockets(redpool.process.pid)[client.getsockname()[:2]]
    assert [its.getsockopt(*option) for option in (NODELAY, KEEPALIVE)] == [1, 0]

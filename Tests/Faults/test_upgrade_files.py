"""A file that the configuration names goes, or becomes another one, in the moment in which another
program is executed. No program that is executed then depends on it."""

import contextlib
import functools
import os
import pathlib
import re
import shutil
import socket

import pytest

from harness.certificates import authority, server_certificate
from harness.daemon import BINARY
from harness.ports import free_port
from harness.shim import Shim
from harness.tls import SecureSocket, client_context
from harness.wire import Connection
from test_upgrade_back import SOURCE
from upgrades import Clients, asked, rehearsal, replace, upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain]

SERVER, CLIENT, BOB, SENTINEL = (f"canary-{name}" for name in ("server", "client", "bob", "sentinel"))
# It stands in a file with passwords, and nobody sends it.
REMARK = "canary-remark"
FAILED = b"ERR upgrade failed: 0.9.0 ended with signal 4 before it took over; 0.9.0 serves on"
# A program that is to be executed has gone in the last moment.
EXECVE = r"""
int execve(const char *path, char *const words[], char *const variables[]) {
    int (*real)(const char *, char *const[], char *const[]) = dlsym(RTLD_NEXT, "execve");
    char said[8] = "";
    int file = open(getenv("SHIM_FILE"), O_RDONLY | O_CLOEXEC);
    ssize_t count = read(file, said, sizeof said - 1);
    close(file);
    if (count == 6 && !strcmp(said, "execve")) { errno = ENOENT; return -1; }
    return real(path, words, variables);
}
"""
FILES = (
    "redpool.yaml", "passwordFile", "clientPasswordFile", "clientUsersFile", "sentinelPasswordFile",
    "tlsCaFile", "tlsCertFile", "tlsKeyFile", "listenCaFile", "listenCertFile", "listenKeyFile",
)
# What the shell does with a file, or with all of them.
CHANGES = {"gone": "rm", "garbage": "echo garbage | tee"}


def texts() -> dict:
    """What the files have, by the keys that name them."""
    own, other = server_certificate(), client_certificate()
    paths = {
        "listenCertFile": own.file, "listenKeyFile": own.key, "listenCaFile": authority().file,
        "tlsCertFile": other.file, "tlsKeyFile": other.key, "tlsCaFile": authority().file,
    }
    return {key: pathlib.Path(path).read_text() for key, path in paths.items()} | {
        "passwordFile": f"{SERVER}\n", "clientPasswordFile": f"{CLIENT}\n",
        "clientUsersFile": f"# {REMARK}\nbob {BOB}\n", "sentinelPasswordFile": f"{SENTINEL}\n",
    }


@functools.cache
def client_certificate():
    return authority().issue("DNS:client.test")


class World:
    """A daemon that has read files of every kind."""

    def __init__(self, launch, folder, shim):
        self.shim = shim
        self.program = shutil.copy(BINARY, folder / "redpool")
        self.paths = {key: folder / key for key in FILES[1:]}
        self.texts = texts()
        for key in self.texts:
            self.put_back(key)
        self.server = launch.server(password=SERVER, certificate=server_certificate())
        self.port = free_port()
        secure = {"listen": f"rediss://127.0.0.1:{self.port}", "listenClients": "verified",
                  "upstream": self.server.tls.text} | self._keys("listen", "tls", "client", "password")
        watched = {"listen": f"127.0.0.1:{free_port()}", "sentinels": f"127.0.0.1:{free_port()}",
                   "primaryName": "mine"} | self._keys("sentinel")
        self.redpool = launch.redpool(
            self.server, console=True, binary=self.program, environment=shim.environment,
            pool=self._keys("password"), pools={"secure": secure, "watched": watched},
            settings={"threads": 2, "log": {"level": "debug"}})
        self.paths["redpool.yaml"] = self.redpool.config_path
        self.texts["redpool.yaml"] = self.redpool.config_path.read_text()

    def _keys(self, *begins) -> dict:
        return {key: str(path) for key, path in self.paths.items() if key.startswith(begins)}

    def put_back(self, name):
        self.paths[name].write_text(self.texts[name])
        self.paths[name].chmod(0o600)

    def fails_with(self, change, *names):
        """The next program is executed, the files change, it reads the hand-over, and traps."""
        self.shim.say("getpeername trap")
        self._changes(change, names)
        assert asked(self.redpool) == FAILED
        self._have_changed(change, names)
        self.shim.say("")

    def goes_on_with(self, change, *names):
        """The next program is executed, the files change, and it takes over."""
        self._changes(change, names)
        assert "carried" in upgrade(self.redpool)
        self._have_changed(change, names)

    def _changes(self, change, names):
        files = " ".join(str(self.paths[name]) for name in names)
        # It stays the program of the daemon, by its name.
        replace(self.program, f"""#!/bin/bash
if [ "$1" = run ]; then {CHANGES[change]} {files} > /dev/null; fi
exec -a "$0" {BINARY} "$@"
""")

    def _have_changed(self, change, names):
        for name in names:
            path = self.paths[name]
            assert not path.exists() if change == "gone" else path.read_text() == "garbage\n"

    def is_served_secure(self):
        """Each with the certificates of both sides, a login, and a new upstream."""
        context = client_context(client_certificate())
        for words in ((CLIENT,), ("bob", BOB)):
            plain = socket.create_connection(("127.0.0.1", self.port), 20)
            with Connection(None, made=SecureSocket(plain, context)) as client:
                assert client.command("AUTH", *words) == b"OK"
                assert client.command("PING") == b"PONG"


@pytest.fixture
def world(launch, tmp_path):
    if not Shim.is_possible():
        pytest.skip("no gcc to make calls of the C library fail with")
    made = World(launch, tmp_path, Shim(tmp_path, SOURCE + EXECVE))
    yield made
    assert made.redpool.stop() == 0
    assert "canary" not in made.redpool.log()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_changes_with_the_execution(world, name, change):
    """A program that fails then, the one before that goes on, and one that takes over."""
    with Clients(world.redpool, world.server) as clients:
        clients.are_served()
        world.fails_with(change, name)
        clients.are_served()
        world.is_served_secure()
        world.put_back(name)
        world.goes_on_with(change, name)
        clients.are_served()
        world.is_served_secure()


@pytest.mark.parametrize("change", CHANGES)
def test_all_files_that_change_with_the_execution(world, change):
    """Of what a former program has handed over, nothing is left for the next upgrade."""
    with Clients(world.redpool, world.server) as clients:
        clients.are_served()
        for _ in range(2):
            world.fails_with(change, *FILES)
            clients.are_served()
            world.is_served_secure()
            assert asked(world.redpool).startswith(b"ERR upgrade refused: ")
            for name in FILES:
                world.put_back(name)
            world.goes_on_with(change, *FILES)
            clients.are_served()
            world.is_served_secure()
            assert asked(world.redpool).startswith(b"ERR upgrade refused: ")
            for name in FILES:
                world.put_back(name)


def test_a_reload_reads_the_files_again(world):
    """What was handed over counts until then only."""
    world.goes_on_with("gone", *FILES[1:])
    text = world.texts["redpool.yaml"]
    assert "event=reload.refused" in world.redpool.reload_file(text, refused=True)
    for key in FILES[1:]:
        assert re.search(f"{world.paths[key]}:? cannot be read", world.redpool.log()), key
        world.put_back(key)
    world.paths["clientPasswordFile"].write_text("another\n")
    world.redpool.reload_file(text)
    context = client_context(client_certificate())
    plain = socket.create_connection(("127.0.0.1", world.port), 20)
    with Connection(None, made=SecureSocket(plain, context)) as client:
        assert client.command("AUTH", CLIENT).startswith(b"WRONGPASS")
        assert client.command("AUTH", "another") == b"OK"
        assert client.command("PING") == b"PONG"


def take_over(world):
    """The rehearsal gets nothing of them either."""
    seen = pathlib.Path(f"{world.program}.seen")
    replace(world.program, rehearsal(f'cat /proc/self/fd/3 > {seen}; exec {BINARY} "$@"'))
    upgrade(world.redpool)
    left = seen.read_bytes()
    assert len(left) > 64 and b"canary" not in left and b"PRIVATE KEY" not in left


def trap(world):
    with Clients(world.redpool, world.server):
        world.fails_with("gone", "passwordFile")


def is_not_executed(world):
    world.shim.say("execve")
    assert asked(world.redpool) == (
        f"ERR upgrade failed: cannot execute {world.program}: No such file or directory; "
        "0.9.0 serves on").encode()
    world.shim.say("")


@pytest.mark.parametrize("end", [take_over, trap, is_not_executed])
def test_nothing_of_the_files_is_left(world, end):
    """In memory, and open, when somebody serves again."""
    world.is_served_secure()
    keys = [world.texts[key].splitlines()[1].encode() for key in ("listenKeyFile", "tlsKeyFile")]
    assert all(len(key) > 40 for key in keys)
    end(world)
    world.is_served_secure()
    assert "redpool-hand-over" not in " ".join(open_files(world.redpool.process.pid))
    memory = world.redpool.memory()
    for secret in (*keys, REMARK.encode()):
        assert secret not in memory


def open_files(process):
    """What descriptors lead to. One may close meanwhile."""
    for one in pathlib.Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(one)

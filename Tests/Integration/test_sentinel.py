"""Real Sentinels: what `redpool check --online` says of a pool whose primary they name."""

import os

import pytest

from harness.daemon import run_cli, yaml
from harness.ports import free_port
from harness.sentinels import Watched
from harness.server import has_tls
from harness.servers import FOUND
from harness.certificates import authority, other_authority

pytestmark = pytest.mark.daemon

# The default server, the oldest that is tested, and Valkey.
SERVERS = [FOUND[0]] + [server for server in FOUND[1:] if server.name in ("redis 6.2", "valkey 8.0")]


def online(folder, keys):
    """The exit code, and the lines about the pool."""
    path = folder / "sentinel.yaml"
    path.write_text(yaml({"pools": {"ha": {"listen": f"127.0.0.1:{free_port()}"} | keys}}))
    done = run_cli("check", "--online", path)
    return done.returncode, [
        line.removeprefix("pool ha: ") for line in done.stderr.splitlines()[:-1]], done.stderr


def secret(folder, name, text):
    path = folder / name
    path.write_text(f"{text}\n")
    os.chmod(path, 0o600)
    return str(path)


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_primary_is_followed(launch, tmp_path, server):
    watched = launch.started(Watched(binary=server.path))
    old = watched.port_of(watched.primary)
    code, lines, _ = online(tmp_path, watched.settings)
    assert code == 0, lines
    assert lines[:5] == [
        *[f"Sentinel {sentinel.text} names 127.0.0.1:{old}, epoch 0, and knows 2 other Sentinels"
          for sentinel in watched.sentinels],
        f"the primary of mymaster is 127.0.0.1:{old}, by 3 of 3 answers",
        f"127.0.0.1:{old} is a primary"], lines
    new = watched.port_of(watched.failover())
    assert new != old
    code, lines, _ = online(tmp_path, watched.settings)
    assert code == 0 and f"127.0.0.1:{new} is a primary" in lines, lines
    assert f"the primary of mymaster is 127.0.0.1:{new}, by 3 of 3 answers" in lines


def test_one_sentinel_of_three_is_enough(launch, tmp_path):
    watched = launch.started(Watched())
    gone = watched.sentinels[0]
    gone.stop()
    code, lines, _ = online(tmp_path, watched.settings)
    assert code == 0, lines
    assert lines[0] == f"Sentinel {gone.text}: Connection refused"
    other = watched.settings | {"primaryName": "nobody"}
    code, lines, _ = online(tmp_path, other)
    assert code == 1, lines
    assert lines[1:3] == [
        f"Sentinel {sentinel.text} does not know nobody: ERR No such master with that name"
        for sentinel in watched.sentinels[1:]]
    assert lines[3] == "no Sentinel names the address of nobody"


def test_killed_primary_is_replaced(launch, tmp_path):
    watched = launch.started(Watched(down_after=500))
    old = watched.port_of(watched.primary)
    new = watched.port_of(watched.kill_primary())
    code, lines, _ = online(tmp_path, watched.settings)
    assert code == 0 and new != old and f"127.0.0.1:{new} is a primary" in lines, lines


def test_replicas_that_can_be_read_from(launch, tmp_path):
    """They are looked at where clients read from them. None of it makes a pool unwell."""
    watched = launch.started(Watched(replicas=2, down_after=60000))
    replicas = watched.replicas
    places = [f"127.0.0.1:{replica.tcp.port}" for replica in replicas]

    def said(reads="replica"):
        """What is said of each replica, by its place."""
        code, lines, _ = online(tmp_path, watched.settings | {"reads": reads})
        assert code == 0, lines
        about = [line.removeprefix("replica ") for line in lines if "replica" in line]
        return dict(line.split(" ", 1) for line in about)

    assert said("primary") == {}
    for reads in ("replica", "client"):
        found = said(reads)
        assert sorted(found) == sorted(places), found
        for text in found.values():
            assert text.startswith("can be read from, and is ") and text.endswith(" bytes behind")
    # It follows another server, and no Sentinel may set it right. One that has noticed calls it
    # down.
    stray = launch.server()
    assert replicas[0].command("REPLICAOF", "127.0.0.1", stray.port) == b"OK"
    rights = ["-replicaof", "-slaveof"]
    assert replicas[0].command("ACL", "SETUSER", "default", *rights) == b"OK"
    found = said()
    assert found.pop(places[0], "is not linked to the primary") == "is not linked to the primary"
    assert list(found) == places[1:], found
    assert replicas[1].command("CONFIG", "SET", "requirepass", "pw") == b"OK"
    assert said()[places[1]].startswith("does not say how far it is: NOAUTH "), said()
    replicas[1].stop()
    found = said()
    assert found.get(places[1], "cannot be used: ").startswith("cannot be used: "), found


def test_replicas_that_nobody_names(launch, tmp_path):
    """Without the right to ask for them, and without any."""
    watched = launch.started(Watched(1, replicas=0, login=("watcher", "of-sentinels")))
    [sentinel] = watched.sentinels
    keys = watched.settings | {
        "reads": "client", "sentinelUsername": "watcher",
        "sentinelPasswordFile": secret(tmp_path, "sentinel", "of-sentinels")}
    code, lines, _ = online(tmp_path, keys)
    assert code == 0 and lines[-1] == "no Sentinel names a replica that is up", lines
    assert sentinel.command("ACL", "SETUSER", "watcher", "-sentinel|replicas") == b"OK"
    code, lines, _ = online(tmp_path, keys)
    assert code == 0 and lines[-1] == "no Sentinel names a replica that is up", lines
    assert any(line.startswith(f"Sentinel {sentinel.text} does not name replicas: NOPERM ")
               for line in lines), lines


def test_passwords_users_and_tls(launch, tmp_path):
    if not has_tls(FOUND[0].path):
        pytest.skip("the server has no TLS")
    watched = launch.started(
        Watched(password="of-servers", login=("watcher", "of-sentinels"), tls=True))
    keys = watched.settings | {
        "primaryTls": True, "sentinelTls": True, "tlsCaFile": authority().file,
        "passwordFile": secret(tmp_path, "server", "of-servers"),
        "sentinelUsername": "watcher",
        "sentinelPasswordFile": secret(tmp_path, "sentinel", "of-sentinels")}
    code, lines, _ = online(tmp_path, keys)
    port = watched.port_of(watched.primary)
    assert code == 0 and f"127.0.0.1:{port} is a primary" in lines, lines
    wrong = keys | {"sentinelPasswordFile": secret(tmp_path, "wrong", "of-servers")}
    code, lines, text = online(tmp_path, wrong)
    assert code == 1 and all(
        line.startswith(f"Sentinel {sentinel.text} refuses the login: WRONGPASS")
        for line, sentinel in zip(lines, watched.sentinels)), lines
    assert "of-servers" not in text and "of-sentinels" not in text
    none = {key: value for key, value in keys.items()
            if key not in ("sentinelUsername", "sentinelPasswordFile")}
    code, lines, _ = online(tmp_path, none)
    assert code == 1 and lines[0] == (
        f"Sentinel {watched.sentinels[0].text} refuses the questions: "
        "NOAUTH Authentication required."), lines
    for sentinel in watched.sentinels:
        assert sentinel.command("ACL", "SETUSER", "watcher", "-subscribe") == b"OK"
    code, lines, _ = online(tmp_path, keys)
    assert code == 1 and all(
        line.startswith(f"Sentinel {sentinel.text} refuses SUBSCRIBE: NOPERM ")
        for line, sentinel in zip(lines, watched.sentinels)), lines
    for sentinel in watched.sentinels:
        assert sentinel.command("ACL", "SETUSER", "watcher", "+subscribe") == b"OK"
    code, lines, _ = online(tmp_path, keys | {"tlsCaFile": other_authority().file})
    assert code == 1 and "certificate verify failed" in lines[0], lines
    plain = {key: value for key, value in keys.items() if key not in ("sentinelTls", "primaryTls",
                                                                      "tlsCaFile")}
    code, lines, _ = online(tmp_path, plain)
    assert code == 1 and lines[0].startswith(f"Sentinel {watched.sentinels[0].text}: "), lines

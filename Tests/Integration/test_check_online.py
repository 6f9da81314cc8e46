"""`redpool check --online` and `redpool ping`: what servers and daemons that run say."""

import contextlib
import re
import socket
import threading

import pytest

from harness.certificates import authority, other_authority, server_certificate
from harness.daemon import run_cli, yaml
from harness.ports import free_port
from harness.waiting import eventually

pytestmark = pytest.mark.daemon


def online(folder, pools):
    """The exit code, and what is said of the pools. `pools` has the keys of each."""
    path = folder / "online.yaml"
    path.write_text(yaml({"pools": {
        name: {"listen": f"127.0.0.1:{free_port()}"} | keys for name, keys in pools.items()}}))
    done = run_cli("check", "--online", path)
    *lines, verdict = done.stderr.splitlines()
    assert done.stdout.startswith("# The effective configuration of "), done
    unwell = verdict.removeprefix(f"{path} is valid")
    assert bool(unwell) == (done.returncode != 0), done
    return done.returncode, lines, unwell


def without_times(lines):
    return [line.rsplit(" in ", 1)[0] if line.endswith(" us") else line for line in lines]


def test_server_that_is_well(launch, tmp_path):
    server = launch.server()
    code, lines, _ = online(tmp_path, {"main": {"upstream": server.unix.text}})
    version = server.info("redis_version")
    assert code == 0 and without_times(lines) == [
        f"pool main: {server.unix.text} is Redis {version}, connected and logged in",
        "pool main: maxOpen (32) fits the server's maxclients (10000)"]


def test_name_is_resolved_and_each_address_is_tried(launch, tmp_path):
    server = launch.server()
    code, lines, _ = online(tmp_path, {"main": {"upstream": f"localhost:{server.port}"}})
    assert code == 0 and f":{server.port} is Redis " in lines[0], lines


def test_names_addresses_and_peers_that_are_none(tmp_path):
    closed, silent = free_port(), socket.create_server(("127.0.0.1", 0))
    taken = f"127.0.0.1:{silent.getsockname()[1]}"
    with silent:
        code, lines, unwell = online(tmp_path, {
            "name": {"upstream": "no-such-host.invalid:6379"},
            "port": {"upstream": f"127.0.0.1:{closed}"},
            "path": {"upstream": f"unix:{tmp_path}/no.sock"},
            "late": {"upstream": taken, "connectTimeout": "50ms", "minIdle": 0}})
    assert code == 1 and unwell == ", but not well: name, port, path, late"
    assert lines[0].startswith("pool name: cannot look up no-such-host.invalid: ")
    assert lines[1:] == [
        f"pool port: cannot connect to 127.0.0.1:{closed}: Connection refused",
        f"pool path: cannot connect to unix:{tmp_path}/no.sock: No such file or directory",
        f"pool late: {taken}: no answer in time"]


def test_login(launch, tmp_path):
    server = launch.server("--user", "app", "on", ">secret", "~*", "+@all", password="pw")
    upstream = server.unix.text
    for name, text in {"pw": "pw", "app": "secret", "wrong": "canary"}.items():
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    code, lines, unwell = online(tmp_path, {
        "main": {"upstream": upstream, "passwordFile": "pw"},
        "app": {"upstream": upstream, "passwordFile": "app", "username": "app"},
        "wrong": {"upstream": upstream, "passwordFile": "wrong"},
        "none": {"upstream": upstream}})
    assert code == 1 and unwell == ", but not well: wrong"
    said = {name: [line for line in lines if line.startswith(f"pool {name}: ")] for name in
            ("main", "app", "wrong", "none")}
    assert "is Redis" in said["main"][0] and "is Redis" in said["app"][0]
    assert len(said["wrong"]) == 1 and "refuses the login: WRONGPASS" in said["wrong"][0]
    assert said["none"] == [
        f"pool none: {upstream} wants a login: clients have to send AUTH, or set passwordFile"]
    assert "canary" not in "".join(lines)


def test_database_that_the_server_does_not_have(launch, tmp_path):
    server = launch.server()
    code, lines, _ = online(
        tmp_path, {"main": {"upstream": f"redis://127.0.0.1:{server.port}/99"}})
    assert code == 1 and "refuses database 99: ERR DB index is out of range" in lines[-1]


def test_maxclients_is_for_all_pools_of_a_server(launch, tmp_path):
    server = launch.server("--maxclients", "60")
    pool = {"upstream": server.unix.text}
    code, lines, unwell = online(tmp_path, {"main": pool})
    assert code == 0 and lines[-1] == (
        "pool main: maxOpen (32) fits the server's maxclients (60)")
    code, lines, _ = online(tmp_path, {"main": pool | {"maxOpen": 61}})
    assert code == 1 and lines[-1] == (
        "pool main: maxOpen (61) is more than the server's maxclients (60)")
    code, lines, unwell = online(tmp_path, {"a": pool, "b": pool})
    assert code == 1 and unwell == ", but not well: a, b"
    assert "pool b: maxOpen of all pools of this server (64) is more than the server's " \
        "maxclients (60)" in lines


def test_timeout_of_the_server(launch, tmp_path):
    server = launch.server("--timeout", "60")
    pool = {"upstream": server.unix.text}
    hint = (
        "pool main: the server closes connections that are idle for 60 s (timeout): Redpool "
        "sends PING after a third of that, not after pingInterval")
    for interval, is_said in (("30s", True), ("0s", True), ("20s", False)):
        code, lines, _ = online(tmp_path, {"main": pool | {"pingInterval": interval}})
        assert code == 0 and (hint in lines) == is_said, lines


def test_user_without_rights(launch, tmp_path):
    server = launch.server("--user", "app", "on", ">secret", "~*", "+get", "+ping")
    (tmp_path / "pw").write_text("secret")
    (tmp_path / "pw").chmod(0o600)
    pool = {"upstream": server.unix.text, "passwordFile": "pw", "username": "app"}
    code, lines, _ = online(tmp_path, {"main": pool})
    assert code == 0 and " is of unknown version, " in lines[0]
    assert lines[1:] == [
        "pool main: the server does not say its maxclients: the user may use neither CONFIG nor "
        "INFO",
        "pool main: the server does not say its timeout: the user may not CONFIG GET; keep "
        "pingInterval below a third of it"]


def test_server_with_tls(launch, tmp_path):
    """It is verified before a password is sent, in the daemon's words."""
    server = launch.server(certificate=server_certificate(), password="pw")
    strict = launch.server("--tls-auth-clients", "yes", certificate=server_certificate())
    (tmp_path / "pw").write_text("pw\n")
    (tmp_path / "pw").chmod(0o600)
    keys = {"upstream": server.tls.text, "passwordFile": "pw"}
    mine = {"tlsCaFile": authority().file}
    plain = f"rediss://127.0.0.1:{server.port}"
    code, lines, unwell = online(tmp_path, {
        "well": keys | mine, "foreign": keys | {"tlsCaFile": other_authority().file},
        "name": keys | mine | {"tlsServerName": "other.test"},
        "strict": mine | {"upstream": strict.tls.text},
        "late": keys | mine | {"upstream": plain, "connectTimeout": "100ms"}})
    assert code == 1 and unwell == ", but not well: foreign, name, strict, late"
    at = f"127.0.0.1:{server.tls.port}"
    assert lines[0].startswith(f"pool well: {at} speaks TLSv1.3 (TLS_")
    assert re.search(", and its certificate is valid for [12] more days$", lines[0]), lines
    assert lines[1].startswith(f"pool well: {at} is Redis ")
    failed = "TLS: certificate verify failed: "
    assert f"pool foreign: {at}: {failed}self-signed certificate in certificate chain" in lines
    assert f"pool name: {at}: {failed}the certificate is not for other.test" in lines
    assert lines[-1] == (
        f"pool late: 127.0.0.1:{server.port}: no answer to the TLS handshake: does "
        f"127.0.0.1:{server.port} speak TLS?")
    (strict,) = [line for line in lines if line.startswith("pool strict: ")][1:]
    # The answer to the first command may be a reset.
    assert "TLS: the server wants a client certificate (tlsCertFile)" in strict


def answering(reply):
    """A listener that answers each client's first words with `reply`, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work():
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            with taken:
                taken.recv(100)
                taken.sendall(reply)

    threading.Thread(target=work, daemon=True).start()

    @contextlib.contextmanager
    def made():
        try:
            yield listener.getsockname()[1]
        finally:
            # A close alone would not end the thread's call.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    return made()


@pytest.mark.parametrize("reply, words", [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak RESP (unknown reply type byte 72)"),
    (b"", "it has closed the connection"), (b"$5\r\nab", "it has closed the connection"),
    (b"-LOADING Redis is loading\r\n", "LOADING Redis is loading"),
])
def test_peer_that_does_not_answer_as_it_should(tmp_path, reply, words):
    with answering(reply) as port:
        code, lines, _ = online(tmp_path, {"main": {"upstream": f"127.0.0.1:{port}"}})
    assert code == 1 and lines == [f"pool main: 127.0.0.1:{port}: {words}"]


# --- ping


def pinged(redpool, *pools):
    return run_cli("ping", "--config", redpool.config_path, *pools)


def test_ping(launch):
    server = launch.server()
    other = {"listen": f"127.0.0.1:{free_port()}", "upstream": server.unix.text}
    redpool = launch.redpool(server, pools={"other": other})
    done = pinged(redpool)
    assert done.returncode == 0 and not done.stderr
    assert [line.split(" in ")[0] for line in done.stdout.splitlines()] == [
        "main: PONG", "other: PONG"]
    assert pinged(redpool, "other").stdout.startswith("other: PONG")
    wrong = pinged(redpool, "none")
    assert wrong.returncode == 64 and "has no pool 'none'" in wrong.stderr


def test_ping_while_the_server_is_down_and_after_the_daemon(launch):
    server, dead = launch.server(), f"127.0.0.1:{free_port()}"
    other = {"listen": f"unix:{server.folder}/other.sock", "upstream": dead,
             "poolTimeout": "100ms"}
    redpool = launch.redpool(server, pools={"other": other})
    done = pinged(redpool)
    assert done.returncode == 1 and done.stdout.startswith("main: PONG")
    assert done.stderr.startswith("other: UPSTREAMDOWN ")
    assert pinged(redpool, "main").returncode == 0
    assert redpool.stop() == 0
    done = pinged(redpool)
    assert done.returncode == 69 and "main: 127.0.0.1:" in done.stderr
    assert "Connection refused" in done.stderr and "No such file" in done.stderr


def test_ping_needs_no_password(launch, tmp_path):
    """Neither its file, which a probe may not be able to read, nor a login."""
    server = launch.server(password="pw")
    (tmp_path / "pw").write_text("pw\n")
    redpool = launch.redpool(server, pool={"passwordFile": str(tmp_path / "pw")})
    (tmp_path / "pw").unlink()
    assert pinged(redpool).returncode == 0
    open_pool = launch.redpool(server)
    done = eventually(lambda: "NOAUTH" in pinged(open_pool).stdout and pinged(open_pool),
                      what="NOAUTH")
    assert done.returncode == 0 and "main: the server answers: NOAUTH" in done.stdout


def test_ping_of_all_addresses(tmp_path):
    """`*` and `0.0.0.0` are reached at the loopback address."""
    path = tmp_path / "redpool.yaml"
    with answering(b"-LOADING Redis is loading\r\n") as port:
        for listen in (f"*:{port}", f"0.0.0.0:{port}"):
            path.write_text(yaml({"pools": {"main": {"listen": listen, "upstream": "h:1"}}}))
            done = run_cli("ping", "--config", path)
            assert done.returncode == 1 and done.stderr == "main: LOADING Redis is loading\n", done

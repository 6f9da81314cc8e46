"""`redpool upgrade` as an operator sees it: what it says, its exit codes, the log."""

import pytest

from harness.daemon import run_cli, yaml
from harness.waiting import eventually
from harness.wire import Closed, encode

pytestmark = pytest.mark.daemon


def upgrade(redpool, *words):
    return run_cli("upgrade", *words, "--socket", redpool.admin.path)


def refusal(redpool, *words) -> str:
    """What it says if it is refused, which the log must say as well."""
    done = upgrade(redpool, *words)
    assert (done.returncode, done.stdout) == (1, ""), done
    prefix = "redpool: upgrade refused: "
    assert done.stderr.startswith(prefix), done
    said = done.stderr.removeprefix(prefix).rstrip("\n")
    lines = [line for line in redpool.log().splitlines() if "event=upgrade.refused" in line]
    assert said in lines[-1].replace('\\"', '"'), lines
    return said


@pytest.fixture
def daemon(launch):
    """A daemon with a client that must stay."""
    made = launch.redpool(launch.server(), console=True, settings={"drainTimeout": "1s"})
    with made.connect() as client:
        assert client.command("PING") == b"PONG"
        yield made
        assert client.command("PING") == b"PONG"


def test_it_says_what_it_has_done(daemon):
    done = upgrade(daemon)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("upgraded ") and " ms: 1 client carried\n" in done.stdout, done
    for event in ("begin", "done"):
        assert f"event=upgrade.{event}" in daemon.log()


def test_another_file_than_the_one_in_effect_is_refused(daemon):
    daemon.file["pools"]["main"]["maxLifetime"] = "2h"
    daemon.config_path.write_text(yaml(daemon.file))
    said = refusal(daemon)
    assert said == "redpool.yaml is not what is in effect (pools.main.maxLifetime): reload first"
    assert run_cli("reload", "--socket", daemon.admin.path).returncode == 0
    assert upgrade(daemon).returncode == 0


def test_a_wrong_file_is_refused(daemon):
    before = daemon.config_path.read_text()
    daemon.config_path.write_text("pools: {main: {maxopen: 1}}\n")
    assert "redpool.yaml:1:16: pools.main.maxopen: unknown key" in refusal(daemon)
    daemon.config_path.write_text(before)
    assert upgrade(daemon).returncode == 0


def test_a_paused_pool_is_refused(daemon):
    """The other program would send what an operator holds back."""
    words = ("--socket", daemon.admin.path)
    assert run_cli("pause", "main", *words).returncode == 0
    assert refusal(daemon) == "pool main is paused: resume it first"
    assert run_cli("resume", "main", *words).returncode == 0
    assert upgrade(daemon).returncode == 0


def test_who_cannot_be_carried_is_named_and_cut_if_wanted(daemon):
    with daemon.connect() as sender:
        assert sender.command("PING") == b"PONG"
        # Its beginning is on the way to the server.
        sender.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9000000\r\n" + b"x" * 1_000_000)
        eventually(lambda: daemon.has_read(sender))
        said = refusal(daemon)
        assert said == "1 client cannot be carried after 1s (1 large command): repeat, or use --cut"
        done = upgrade(daemon, "--cut")
        assert " 1 client carried, 1 closed (large command)\n" in done.stdout, done
        with pytest.raises(Closed):
            sender.read()


def test_clients_with_tls_are_closed_and_counted(launch):
    redpool = launch.redpool(launch.server(), console=True, tls=True)
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        assert " 0 clients carried, 1 closed (TLS)\n" in upgrade(redpool).stdout
        with pytest.raises(Closed):
            client.read()
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"


def test_keys_that_wait_for_a_restart_take_effect(launch):
    redpool = launch.redpool(launch.server(), console=True, settings={"threads": 2})
    with redpool.connect() as client:
        assert client.command("PING") == b"PONG"
        assert "pending=1" in redpool.reload_settings(threads=1)
        assert upgrade(redpool).returncode == 0
        facts = {row["name"]: row["value"] for row in redpool.show("VERSION")}
        assert facts["threads"] == "1"
        assert client.command("PING") == b"PONG"

"""`redpool upgrade` as an operator sees it: what it says, its exit codes, the log."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from harness.daemon import BINARY, run_cli, yaml
from harness.trap import trap
from harness.waiting import eventually
from harness.wire import Closed

pytestmark = [pytest.mark.daemon, pytest.mark.plain]


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
        assert version(redpool)["threads"] == "1"
        assert client.command("PING") == b"PONG"


def version(redpool) -> dict:
    return {row["name"]: row["value"] for row in redpool.show("VERSION")}


def test_the_process_keeps_its_age(daemon):
    eventually(lambda: int(version(daemon)["uptime_s"]) >= 2)
    before = version(daemon)
    assert before["upgrades"] == "0"
    for count in (1, 2):
        assert upgrade(daemon).returncode == 0
        after = version(daemon)
        assert after["pid"] == before["pid"] and after["upgrades"] == str(count)
        assert int(after["uptime_s"]) >= int(before["uptime_s"])


def test_systemd_hears_of_it_and_the_watchdog_goes_on(launch, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(20)

        def told(word):
            while word not in (message := systemd.recv(10_000).decode()):
                pass
            return message

        redpool = launch.redpool(
            launch.server(), console=True,
            environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
        with redpool.connect() as client:
            told("STATUS=1 pool, 1 client")
            for _ in range(2):
                assert upgrade(redpool).returncode == 0
                assert re.search(r"^MONOTONIC_USEC=\d+$", told("RELOADING=1"), re.M)
                assert "STATUS=1 pool, 1 client" in told("READY=1")
                told("WATCHDOG=1")
                assert client.command("PING") == b"PONG"


# Run a command where /proc is empty, and as the first process of a container.
NO_PROC = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def needs(prefix):
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody do that")


def test_without_proc_the_way_back_leads_to_the_old_program(launch, tmp_path):
    """Twice: the program that has come back was executed by its descriptor."""
    needs(NO_PROC)
    program, mark = tmp_path / "redpool", tmp_path / "mark"
    shutil.copy(BINARY, program)
    redpool = launch.redpool(
        launch.server(), console=True, prefix=NO_PROC, binary=program,
        environment={"LD_PRELOAD": str(trap(tmp_path, mark))})
    old = program.stat().st_ino

    def executing() -> int:
        return os.stat(f"/proc/{redpool.process.pid}/exe").st_ino

    with redpool.connect() as client:
        assert client.command("MULTI") == b"OK" and executing() == old
        mark.touch()
        for _ in range(2):
            shutil.copy(BINARY, tmp_path / "new")
            os.rename(tmp_path / "new", program)
            done = upgrade(redpool)
            assert done.returncode == 1 and " ended with signal 11 " in done.stderr, done
            assert executing() == old
        mark.unlink()
        assert upgrade(redpool).returncode == 0
        assert executing() == program.stat().st_ino != old
        assert client.command("EXEC") == []


def test_the_first_process_of_a_container(launch):
    needs(CONTAINER)
    redpool = launch.redpool(launch.server(), console=True, prefix=CONTAINER)
    with redpool.connect() as client:
        for count in (1, 2):
            assert client.command("PING") == b"PONG"
            done = upgrade(redpool)
            assert done.returncode == 0, done
            assert (version(redpool)["pid"], version(redpool)["upgrades"]) == ("1", str(count))
        assert client.command("PING") == b"PONG"
    first = subprocess.run(
        ["pgrep", "--parent", str(redpool.process.pid)], capture_output=True, text=True)
    os.kill(int(first.stdout), 15)
    assert redpool.wait(60) == 0

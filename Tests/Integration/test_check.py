"""`redpool check`: 60 broken files with their exact messages, its sources, and its surroundings."""

import os
import pathlib
import subprocess
import tempfile

import pytest

from broken_files import BROKEN
from harness.daemon import BINARY, run_cli

pytestmark = pytest.mark.daemon
SMALLEST = "pools: {main: {listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379}}\n"


@pytest.fixture
def folder():
    """A directory that every user can enter; pytest's are closed."""
    with tempfile.TemporaryDirectory(prefix="redpool-test-") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


def checked(text, *options):
    return run_cli("check", *options, "-", input=text)


def said(text) -> list:
    """What a valid file's check says on stderr before its verdict."""
    done = checked(text)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and lines[-1] == "<stdin> is valid", done
    return lines[:-1]


def test_there_are_sixty():
    assert len(BROKEN) >= 60 and len({text for text, _ in BROKEN}) == len(BROKEN)


@pytest.mark.parametrize("text, problems", BROKEN, ids=[str(n) for n in range(len(BROKEN))])
def test_broken_file(text, problems):
    done = checked(text)
    assert done.returncode == 78 and not done.stdout, done
    *lines, last = done.stderr.splitlines()
    assert lines == [f"<stdin>:{problem}" for problem in problems]
    errors = sum(": warning: " not in problem for problem in problems)
    assert last == ("1 problem." if errors == 1 else f"{errors} problems.")


def test_valid_file(folder):
    path = folder / "redpool.yaml"
    path.write_text(SMALLEST)
    for arguments in ([path], ["--config", path], [f"--config={path}"]):
        done = run_cli("check", *arguments)
        assert done.returncode == 0 and done.stderr == f"{path} is valid\n", done
        assert done.stdout.startswith(f"# The effective configuration of {path}.\n")


def test_standard_input_can_be_a_pipe_that_is_filled_slowly():
    process = subprocess.Popen(
        [BINARY, "check", "--config", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    half = len(SMALLEST) // 2
    process.stdin.write(SMALLEST[:half])
    process.stdin.flush()
    out, err = process.communicate(SMALLEST[half:], timeout=60)
    assert process.returncode == 0 and err == "<stdin> is valid\n", err
    assert "effective configuration of <stdin>" in out


def test_passwords_beside_standard_input_are_looked_for_in_the_working_directory(folder):
    (folder / "pw").write_text("secret\n")
    (folder / "pw").chmod(0o600)
    text = "pools: {main: {listen: 127.0.0.1:1, upstream: h:1, passwordFile: pw}}\n"
    done = run_cli("check", "-", input=text, cwd=folder)
    assert done.returncode == 0, done


def test_the_unit_makes_its_own_directory():
    """A file may be checked before the service has ever started."""
    assert not said("pools: {main: {listen: 'unix:/run/redpool/x.sock', upstream: h:1}}\n")


def test_known_surroundings_are_not_mentioned(folder):
    text = "pools: {main: {listen: 'unix:%s/x.sock', upstream: h:1, socketGroup: root}}\n"
    assert not said(text % folder)


def test_commands_that_no_server_knows_are_a_warning():
    text = "pools:\n  main:\n    listen: 127.0.0.1:1\n    upstream: h:1\n    denyCommands:\n%s"
    names = ["KESY", "script|debugg", "FT.SEARCH", "FROBNICATE", "CONFIG", "client list"]
    assert said(text % "".join(f"      - {name}\n" for name in names)) == [
        "<stdin>:6:9: warning: pools.main.denyCommands: no server knows KESY (did you mean KEYS?)",
        "<stdin>:7:9: warning: pools.main.denyCommands: no server knows SCRIPT DEBUGG "
        "(did you mean SCRIPT DEBUG?)",
        "<stdin>:9:9: warning: pools.main.denyCommands: no server knows FROBNICATE",
    ]


@pytest.mark.parametrize("threads, maxOpen, most", [(8, 4, 2), (2, 1, 1), (3, 5, 2)])
def test_threads_that_no_pool_can_use_are_a_warning(threads, maxOpen, most):
    pool = "{listen: 127.0.0.1:1, upstream: h:1, maxOpen: %d}" % maxOpen
    assert said("threads: %d\npools: {main: %s}\n" % (threads, pool)) == [
        f"<stdin>:1:10: warning: threads: {threads} is more than pool main can use: {most} "
        "(half of maxOpen, at most maxIdle)"]
    assert not said("threads: %d\npools: {main: %s}\n" % (most, pool))
    assert not said(
        "threads: %d\npools: {main: %s, other: {listen: 127.0.0.1:2, upstream: h:1}}\n"
        % (threads, pool))


def test_password_file_that_others_can_read_is_a_warning(folder):
    secret = folder / "pw"
    secret.write_text("secret\n")
    text = "pools: {main: {listen: 127.0.0.1:1, upstream: h:1, passwordFile: %s}}\n" % secret
    secret.chmod(0o644)
    assert said(text) == [
        f"<stdin>:1:66: warning: pools.main.passwordFile: {secret}: every user can read it "
        "(chown root:redpool, chmod 0640)"]
    secret.chmod(0o600)
    assert not any("every user" in line for line in said(text))


def test_warnings_are_in_the_log_of_a_start(launch):
    redpool = launch.redpool(launch.server(), pool={"denyCommands": ["KESY"]})
    assert any(
        "event=config.warning" in line and "no server knows KESY" in line
        for line in redpool.log().splitlines())

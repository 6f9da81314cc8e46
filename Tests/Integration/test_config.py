"""`redpool check` and the configuration file as an operator meets them."""

import pytest

from harness.daemon import ROOT, run_cli

pytestmark = pytest.mark.daemon
SMALLEST = "pools: {main: {listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379}}\n"


@pytest.fixture
def check(tmp_path):
    path = tmp_path / "redpool.yaml"

    def made(text):
        path.write_text(text)
        return run_cli("check", path), str(path)

    return made


def test_smallest_file_and_its_effective_configuration(check):
    done, path = check(SMALLEST)
    assert done.returncode == 0 and done.stderr == f"{path} is valid\n", done
    for line in ("maxOpen: 32", "minIdle: 1", "poolTimeout: 5s", "drainTimeout: 10s"):
        assert line in done.stdout, line


def test_effective_configuration_is_a_configuration(check):
    first, _ = check(SMALLEST)
    second, path = check(first.stdout)
    assert second.returncode == 0, second

    def values(text):
        return [line.split(" #")[0].rstrip() for line in text.splitlines()]

    assert values(second.stdout) == values(first.stdout)


def test_documented_sample_is_valid():
    done = run_cli("check", ROOT / "config" / "redpool.yaml")
    assert done.returncode == 0, done


def test_all_problems_at_once_with_line_and_column(check):
    done, path = check(
        "pools:\n"
        "  main:\n"
        "    listen: 127.0.0.1:6380\n"
        "    upstream: 127.0.0.1:6379\n"
        "    maxopen: 5\n"
        "    idleTimeout: 300\n"
        "    poolTimeout: soon\n"
        "    minIdle: -1\n"
    )
    assert done.returncode == 78 and not done.stdout, done
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"{path}:5:5: ") and "maxOpen" in line for line in lines), lines
    assert any(line.startswith(f"{path}:6:18: ") and "300s" in line for line in lines), lines
    assert any(line.startswith(f"{path}:7:18: ") for line in lines), lines
    assert any(line.startswith(f"{path}:8:14: ") for line in lines), lines


@pytest.mark.parametrize(
    "text,where",
    [
        ("", ":1:"),
        ("pools:\n  - a\n", ":2:"),
        ("pools: {main: {listen: 127.0.0.1:6380}}\n", ":1:"),
        ("pools: {main: {upstream: 127.0.0.1:6379}}\n", ":1:"),
        ("pools: {main: {listen: [127.0.0.1:6380, upstream: x}}\n", ":1:"),
        ("pools:\n\tmain: {}\n", ":2:"),
        (SMALLEST + "maxClients: many\n", ":2:"),
        (SMALLEST + "pools: {}\n", ":2:"),
        (SMALLEST + "nosuch: 1\n", ":2:"),
        ("pools: {a: {listen: 127.0.0.1:1, upstream: 127.0.0.1:1}}\n", ":1:"),
    ],
    ids=[
        *["empty", "list of pools", "no upstream", "no listen", "broken YAML", "tab"],
        *["wrong type", "duplicate key", "unknown key", "loop"],
    ],
)
def test_problem_is_located(check, text, where):
    done, path = check(text)
    assert done.returncode == 78 and path + where in done.stderr, done


def test_run_refuses_what_check_refuses(check, tmp_path):
    checked, path = check(SMALLEST + "nosuch: 1\n")
    started = run_cli("run", "--config", path)
    assert started.returncode == checked.returncode == 78
    assert [line for line in checked.stderr.splitlines() if path in line] == [
        line for line in started.stderr.splitlines() if path in line
    ]


def test_password_is_never_printed(check, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("canary-5f1c\n")
    secret.chmod(0o600)
    pool = "{listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379, passwordFile: %s}" % secret
    done, _ = check("pools: {main: %s}\n" % pool)
    assert done.returncode == 0, done
    assert str(secret) in done.stdout and "canary-5f1c" not in done.stdout + done.stderr


def test_missing_password_file_is_a_located_problem(check):
    pool = "{listen: 127.0.0.1:6380, upstream: 127.0.0.1:6379, passwordFile: /no/such}"
    done, path = check("pools: {main: %s}\n" % pool)
    assert done.returncode == 78 and f"{path}:1:" in done.stderr, done
    assert "No such file" in done.stderr, done


def test_password_in_the_url_is_refused(check):
    pool = "{listen: 127.0.0.1:6380, upstream: 'redis://u:canary-77@127.0.0.1:6379'}"
    done, _ = check("pools: {main: %s}\n" % pool)
    assert done.returncode == 78 and "passwordFile" in done.stderr, done
    assert "canary-77" not in done.stderr

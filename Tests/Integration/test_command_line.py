"""The command line: what is asked for, what is refused, and in which words."""

import re

import pytest

from harness.daemon import run_cli

GENERAL = "redpool <subcommand>"
USAGES = {
    "run": "redpool run [--config <config>]",
    "check": "redpool check [--config <config>] [--online] [<file>]",
    "ping": "redpool ping [--config <config>] [<pool>]",
    "status": "redpool status [--socket <path>] [--watch]",
    "show": "redpool show [--socket <path>] [--json] [--watch] <word> [<word> ...]",
    "pause": "redpool pause [--socket <path>] <pool> [max <time>] [close]",
    "resume": "redpool resume [--socket <path>] <pool>",
    "reconnect": "redpool reconnect [--socket <path>] <pool>",
    "kill": "redpool kill [--socket <path>] client|upstream <id>",
    "log": "redpool log [--socket <path>] level|clients <value> [for <time>]",
    "reload": "redpool reload [--socket <path>]",
    "upgrade": "redpool upgrade [--socket <path>] [--cut]",
    "version": "redpool version",
}

WRONG = [
    (["bogus"], "Unexpected argument 'bogus'", None),
    (["--bogus"], "Unknown option '--bogus'", None),
    (["--config", "x"], "Unknown option '--config'", None),
    ([""], "Unexpected argument ''", None),
    (["run", "x"], "Unexpected argument 'x'", "run"),
    (["run", "--", "--config"], "Unexpected argument '--config'", "run"),
    (["run", "--bogus"], "Unknown option '--bogus'", "run"),
    (["run", "--bogus=1"], "Unknown option '--bogus'", "run"),
    (["run", "-c", "x"], "Unknown option '-c'", "run"),
    (["run", "--help=x"], "Unknown option '--help'", "run"),
    (["run", "--online"], "Unknown option '--online'", "run"),
    (["run", "--config"], "Missing value for '--config <config>'", "run"),
    (["run", "--config", "--help"], "Missing value for '--config <config>'", "run"),
    (["check", "a", "b"], "Unexpected argument 'b'", "check"),
    (["check", "--config", "a", "b"], "Unexpected argument 'b'", "check"),
    (["check", "--online=yes"], "Unknown option '--online'", "check"),
    (["check", "-x"], "Unknown option '-x'", "check"),
    (["ping", "a", "b"], "Unexpected argument 'b'", "ping"),
    (["status", "main"], "Unexpected argument 'main'", "status"),
    (["status", "--json"], "Unknown option '--json'", "status"),
    (["show"], "Missing expected argument '<word>'", "show"),
    (["show", "--socket"], "Missing value for '--socket <path>'", "show"),
    (["show", *["x"] * 18], "Unexpected argument 'x'", "show"),
    (["show", "pools", "--socket", ""], "'' is no path of a socket", "show"),
    (["pause"], "Missing expected argument '<pool>'", "pause"),
    (["pause", "a", "max", "1s", "close", "b"], "Unexpected argument 'b'", "pause"),
    (["resume", "a", "b"], "Unexpected argument 'b'", "resume"),
    (["reconnect"], "Missing expected argument '<pool>'", "reconnect"),
    (["kill", "client"], "Missing expected argument '<id>'", "kill"),
    (["kill"], "Missing expected argument 'client|upstream'", "kill"),
    (["log", "level"], "Missing expected argument '<value>'", "log"),
    (["reload", "now"], "Unexpected argument 'now'", "reload"),
    (["version", "x"], "Unexpected argument 'x'", "version"),
]


@pytest.mark.parametrize("arguments, problem, usage", WRONG)
def test_wrong_usage(arguments, problem, usage):
    done = run_cli(*arguments)
    name = f"redpool {usage}" if usage else "redpool"
    usage = USAGES.get(usage, GENERAL)
    assert done.returncode == 64 and not done.stdout, done
    assert done.stderr.splitlines() == [
        f"Error: {problem}", f"Usage: {usage}",
        f"  See '{name} --help' for more information."], done


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"], ["help", "bogus"]])
def test_general_help(arguments):
    done = run_cli(*arguments)
    assert done.returncode == 0 and not done.stderr, done
    assert f"USAGE: {GENERAL}\n" in done.stdout, done
    named = re.findall(r"^  (\w+)  ", done.stdout.partition("SUBCOMMANDS:")[2], re.MULTILINE)
    assert named == list(USAGES), done
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name, usage", USAGES.items())
def test_help_of_a_subcommand(name, usage):
    answers = [run_cli(*arguments) for arguments in (
        [name, "--help"], [name, "-h"], ["help", name], [name, "--help", "bogus"])]
    for done in answers:
        assert done.returncode == 0 and not done.stderr, done
        assert done.stdout == answers[0].stdout
    assert f"\nUSAGE: {usage}\n" in answers[0].stdout and "--version" in answers[0].stdout
    assert max(map(len, answers[0].stdout.splitlines())) <= 80


def test_version():
    named, bare = run_cli("version"), run_cli("--version")
    assert named.returncode == bare.returncode == 0 and not named.stderr + bare.stderr
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", bare.stdout), bare
    assert named.stdout == "redpool " + bare.stdout
    assert run_cli("run", "--version").stdout == bare.stdout


@pytest.mark.parametrize("arguments", [
    ["run", "--config", "{}"], ["run", "--config={}"], ["run", "--config", "x", "--config", "{}"],
    ["check", "{}"], ["check", "--", "{}"], ["check", "--config", "{}"], ["ping", "--config={}"]])
def test_where_the_configuration_is_looked_for(tmp_path, arguments):
    path = str(tmp_path / "no-such=one.yaml")
    done = run_cli(*(word.format(path) for word in arguments))
    assert done.returncode == 66 and path in done.stderr, done


def test_a_file_named_like_an_option():
    done = run_cli("check", "--", "--help")
    assert done.returncode == 66 and "cannot read --help" in done.stderr, done

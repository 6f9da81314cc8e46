"""The command line: what is asked for, what is refused, and in which words."""

import re

import pytest

from harness.daemon import run_cli

GENERAL, RUN, CHECK, VERSION = (
    "redpool <subcommand>", "redpool run [--config <config>]", "redpool check <file>",
    "redpool version")

WRONG = [
    (["bogus"], "Unexpected argument 'bogus'", GENERAL),
    (["--bogus"], "Unknown option '--bogus'", GENERAL),
    (["--config", "x"], "Unknown option '--config'", GENERAL),
    ([""], "Unexpected argument ''", GENERAL),
    (["run", "x"], "Unexpected argument 'x'", RUN),
    (["run", "--", "--config"], "Unexpected argument '--config'", RUN),
    (["run", "--bogus"], "Unknown option '--bogus'", RUN),
    (["run", "--bogus=1"], "Unknown option '--bogus'", RUN),
    (["run", "-c", "x"], "Unknown option '-c'", RUN),
    (["run", "--help=x"], "Unknown option '--help'", RUN),
    (["run", "--config"], "Missing value for '--config <config>'", RUN),
    (["run", "--config", "--help"], "Missing value for '--config <config>'", RUN),
    (["check"], "Missing expected argument '<file>'", CHECK),
    (["check", "--"], "Missing expected argument '<file>'", CHECK),
    (["check", "a", "b"], "Unexpected argument 'b'", CHECK),
    (["check", "--config", "a"], "Unknown option '--config'", CHECK),
    (["check", "-x"], "Unknown option '-x'", CHECK),
    (["version", "x"], "Unexpected argument 'x'", VERSION),
]


@pytest.mark.parametrize("arguments, problem, usage", WRONG)
def test_wrong_usage(arguments, problem, usage):
    done = run_cli(*arguments)
    name = usage.split(" [")[0].split(" <")[0]
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
    assert named == ["run", "check", "version"], done
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("usage, name", [(RUN, "run"), (CHECK, "check"), (VERSION, "version")])
def test_help_of_a_subcommand(usage, name):
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
    ["check", "{}"], ["check", "--", "{}"]])
def test_where_the_configuration_is_looked_for(tmp_path, arguments):
    path = str(tmp_path / "no-such=one.yaml")
    done = run_cli(*(word.format(path) for word in arguments))
    assert done.returncode == 66 and path in done.stderr, done


def test_a_file_named_like_an_option():
    done = run_cli("check", "--", "--help")
    assert done.returncode == 66 and "cannot read --help" in done.stderr, done

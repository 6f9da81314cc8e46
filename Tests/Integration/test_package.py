"""The Debian package, without installing it: test_systemd.py does that."""

import gzip
import os
import re
import subprocess

import pytest

from harness.daemon import BINARY, ROOT, run_cli
from harness.package import deb

pytestmark = pytest.mark.daemon


def run(*command, **options) -> subprocess.CompletedProcess:
    options = {"capture_output": True, "text": True, "timeout": 300} | options
    return subprocess.run([*map(str, command)], **options)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The files of the package."""
    folder = tmp_path_factory.mktemp("deb")
    assert run("dpkg-deb", "--raw-extract", deb(), folder).returncode == 0
    return folder


# --- the package


def test_the_package_has_no_fault_that_lintian_knows():
    done = run("lintian", "--no-cfg", "--fail-on=error,warning", deb())
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


def test_the_program_is_stripped_and_knows_its_commit(unpacked):
    program = unpacked / "usr/bin/redpool"
    assert program.stat().st_size < 12_000_000
    commit = run("git", "-C", ROOT, "rev-parse", "HEAD").stdout.strip()
    version = run_cli("--version").stdout.strip()
    said = run(program, "version").stdout
    assert said in {f"redpool {version} (commit {commit}{end})\n" for end in ("", "-changed")}
    control = (unpacked / "DEBIAN/control").read_text()
    # The first C library that reads packed relocations.
    assert f"\nVersion: {version}\n" in control
    assert re.search(r"\nDepends: .*libc6 \(>= 2.36\).*libssl3.*libyaml-0-2", control), control


def test_the_version_is_that_of_the_changelog():
    version = run_cli("--version").stdout.strip()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest[1] == version


def test_the_packaged_configuration_is_valid(unpacked):
    done = run_cli("check", unpacked / "etc/redpool/redpool.yaml")
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1, done.stderr
    streams = (unpacked / "lib/systemd/system/redpool.socket").read_text()
    assert "ListenStream=127.0.0.1:6380" in streams and "- 127.0.0.1:6380 " in done.stdout


@pytest.mark.parametrize("page", ["man8/redpool.8.gz", "man5/redpool.yaml.5.gz"])
def test_manual_pages_are_well_formed(unpacked, page, tmp_path):
    text = tmp_path / "page"
    text.write_bytes(gzip.decompress((unpacked / "usr/share/man" / page).read_bytes()))
    environment = os.environ | {"MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    done = run("man", "--warnings", "-l", text, env=environment)
    assert done.returncode == 0 and done.stderr == "" and "NAME\n" in done.stdout, done.stderr


def manual(unpacked, page) -> str:
    return gzip.decompress((unpacked / "usr/share/man" / page).read_bytes()).decode()


def test_the_manual_has_each_subcommand(unpacked):
    text = manual(unpacked, "man8/redpool.8.gz").replace("\\-", "-")
    names = re.findall(r"^  ([a-z]+) ", run_cli("--help").stdout.partition("SUBCOMMANDS:")[2], re.M)
    assert len(names) >= 3 and all(f".SS redpool {name}" in text for name in names), names


def test_the_manual_has_each_key(unpacked):
    text = manual(unpacked, "man5/redpool.yaml.5.gz")
    sample = (ROOT / "config/redpool.yaml").read_text().replace("  main:", "")
    keys = re.findall(r"^(?:  )?(?:# )?([a-z]\w+): ", sample, re.M)
    assert len(keys) > 25 and [key for key in keys if f".TP\n\\fB{key}\\fR\n" not in text] == []


# --- completion in bash


def completes(*words, program=BINARY) -> set:
    """What bash offers for the last of the words."""
    script = """
        . "$1"; shift; program=$1; shift
        COMP_WORDS=("$program" "$@"); COMP_CWORD=$#; compopt() { :; }
        _redpool "$program" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = run("bash", "-c", script, "bash", ROOT / "packaging/redpool.bash", program, *words)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return set(done.stdout.split())


def test_completion_of_subcommands():
    names = re.findall(r"^  ([a-z]+) ", run_cli("--help").stdout.partition("SUBCOMMANDS:")[2], re.M)
    assert completes("") >= {*names, "help"} and len(names) >= 3
    assert completes("ch") == {"check"}


@pytest.mark.parametrize("words, some", [
    (["show", ""], {"pools", "clients", "config"}), (["show", "ups"], {"upstreams"}),
    (["kill", ""], {"client", "upstream"}), (["log", "le"], {"level"}), (["run", ""], set())])
def test_completion_of_words(words, some):
    found = completes(*words)
    assert found >= some and bool(found) == bool(some), found


def test_completion_of_pools(tmp_path):
    """Those of the file, which the program names."""
    pool = "listen: '127.0.0.1:{}', upstream: '127.0.0.1:1'"
    text = f"pools: {{cache: {{{pool.format(1024)}}}, queue: {{{pool.format(1025)}}}}}"
    (tmp_path / "redpool.yaml").write_text(text)
    program = tmp_path / "redpool"
    program.write_text(f'#!/bin/sh\n[ "$*" != check ] || set -- check {tmp_path}/redpool.yaml\n'
                       f'exec {BINARY} "$@"\n')
    program.chmod(0o755)
    assert completes("pause", "", program=program) == {"cache", "queue"}
    assert completes("ping", "q", program=program) == {"queue"}


def test_completion_of_options_and_files(tmp_path):
    assert "--config" in completes("run", "--")
    (tmp_path / "redpool.yaml").touch()
    for words in (["check"], ["run", "--config"]):
        assert completes(*words, f"{tmp_path}/red") == {f"{tmp_path}/redpool.yaml"}

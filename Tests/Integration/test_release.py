"""scripts/release, in a copy of the project."""

import hashlib
import os
import re
import subprocess

import pytest

from harness.daemon import BINARY, ROOT, run_cli

IDENTITY = {f"GIT_{who}_{what}": "tester@example.org" if what == "EMAIL" else "Tester"
            for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Project:
    """A clone of the project's commit, with the files of the work tree, in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.run("git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", folder, cwd="/")
        changed = self.run("git", "-C", ROOT, "ls-files", "--modified", "--others",
                           "--exclude-standard", "-z", cwd="/").stdout.split("\0")
        for name in filter(None, changed):
            if (ROOT / name).exists():
                self.run("cp", "--parents", name, folder, cwd=ROOT)
            else:
                (folder / name).unlink()

    def run(self, *command, cwd=None, check=True) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [*map(str, command)], cwd=cwd or self.folder, env=os.environ | IDENTITY,
            capture_output=True, text=True, timeout=300,
        )
        assert not check or done.returncode == 0, done.stderr[-2000:]
        return done

    def release(self, *options, check=True):
        return self.run("scripts/release", "--unsigned", "--binary", BINARY, *options, check=check)

    def commit(self):
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message=Release")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"))


def test_a_release(project, tmp_path):
    version = run_cli("--version").stdout.strip()
    changes = project.folder / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace(f"## {version} (unreleased)", f"## {version}"))
    project.commit()
    output = project.folder / project.release().stdout.strip()
    names = {path.name for path in output.iterdir()}
    deb = next(name for name in names if name.endswith(".deb"))
    archive = f"redpool-{version}.tar.gz"
    assert names == {archive, deb, f"redpool-{version}.spdx", "SHA256SUMS"}

    lines = (output / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    assert sums.keys() == names - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((output / name).read_bytes()).hexdigest() == digest

    tag = f"refs/tags/v{version}"
    message = project.run("git", "for-each-ref", "--format=%(contents)", tag).stdout
    assert message.startswith(f"Redpool {version}\n\n") and "\n* " in message

    # The archive has no git in it, and gives the same package.
    project.run("tar", "--extract", "--file", output / archive, "--directory", tmp_path)
    sources = tmp_path / f"redpool-{version}"
    again = project.run(sources / "scripts/package-deb", "--binary", BINARY, cwd=sources)
    assert (sources / again.stdout.strip()).read_bytes() == (output / deb).read_bytes()

    done = project.release(check=False)
    assert done.returncode == 1 and f"the tag v{version} exists" in done.stderr


def test_the_list_of_contents(project):
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    text = subprocess.run(
        [ROOT / "scripts/list-contents", "1.2.3", "abc"], env=environment, capture_output=True,
        text=True, check=True, timeout=60,
    ).stdout
    assert text.startswith("SPDXVersion: SPDX-2.3\n") and "\nCreated: 2023-11-14T22:13:20Z\n" in text
    packages = dict(re.findall(r"PackageName: (.+)\n(?:.+\n)*?PackageVersion: (.+)\n", text))
    assert packages.keys() == {
        "redpool", "swift-log", "swift-runtime", "libdispatch", "libstdc++", "libgcc"}
    assert packages["redpool"] == "1.2.3" and all(packages.values())
    assert text.count("Relationship: SPDXRef-redpool STATIC_LINK ") == 5
    for word in ("PackageLicenseConcluded", "PackageCopyrightText", "FilesAnalyzed: false"):
        assert text.count(word) == 6


@pytest.mark.parametrize("change, problem", [
    ("uncommitted", "not committed"), ("unreleased", "is unreleased"), ("missing", "no section")])
def test_what_is_not_ready_is_not_released(project, change, problem):
    project.run("git", "reset", "--quiet", "--hard")
    path = project.folder / "CHANGELOG.md"
    heading = re.search(r"^## \d.*", path.read_text(), re.M)[0]
    version = run_cli("--version").stdout.strip()
    wanted = {"missing": "## 0.0.1", "unreleased": f"## {version} (unreleased)"}
    path.write_text(path.read_text().replace(heading, wanted.get(change, heading)) + "\n")
    if change != "uncommitted":
        project.commit()
    done = project.release("--no-tag", check=False)
    assert done.returncode == 1 and problem in done.stderr, done.stderr

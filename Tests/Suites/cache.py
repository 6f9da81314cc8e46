"""Where the suites and what they need are kept: fetched from package registries, never committed."""

import os
import pathlib
import subprocess
import sys

CACHE = pathlib.Path(
    os.environ.get("REDPOOL_SUITES_CACHE", pathlib.Path.home() / ".cache" / "redpool-suites")
)

# Debian's own interpreter: the one that its packages are built for.
PYTHON = "/usr/bin/python3"


def run(*command, timeout=300, **options) -> str:
    """Runs a command to its end; its output is in the error when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout,
        **options,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}")
    return done.stdout


def virtualenv(name, *requirements) -> pathlib.Path:
    """A virtual environment with these packages; its python."""
    folder = CACHE / f"venv-{name}"
    python = folder / "bin" / "python"
    stamp = folder / "requirements"
    wanted = "\n".join(requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {', '.join(requirements)}", file=sys.stderr)
    run(PYTHON, "-m", "venv", "--clear", folder)
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements)
    stamp.write_text(wanted)
    return python


def python_source(python, project, version) -> pathlib.Path:
    """The unpacked source distribution of a project on PyPI."""
    folder = CACHE / "sources" / f"{project}-{version}"
    if not folder.exists():
        downloads = CACHE / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        run(
            python, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
            "--no-binary", project, "--dest", downloads, f"{project}=={version}",
        )
        _unpack(downloads / f"{project}-{version}.tar.gz", folder)
    return folder


def debian_source(package, release="bookworm") -> pathlib.Path:
    """The unpacked upstream source of a package of Debian 12, or of another release."""
    folder = CACHE / "sources" / f"{release}-{package}"
    if folder.exists():
        return folder
    downloads = CACHE / "downloads" / release / package
    state = CACHE / "apt" / release
    for path in (downloads, state / "lists" / "partial", state / "cache" / "archives" / "partial"):
        path.mkdir(parents=True, exist_ok=True)
    sources = state / "sources.list"
    sources.write_text(
        "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        f" http://deb.debian.org/debian {release} main\n"
    )
    # A list of our own: the machine's sources need not name source packages.
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
    }
    apt = ["apt-get", "-q"] + [f"-o{key}={value}" for key, value in options.items()]
    if not any((state / "lists").glob("*Sources*")):
        run(*apt, "update")
    run(*apt, "source", "--download-only", "--tar-only", package, cwd=downloads)
    _unpack(next(downloads.glob("*.orig.tar.*")), folder, strip=False)
    return folder


def _unpack(archive, folder, strip=True):
    """Unpacks under another name first, so that a folder that exists is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    fresh.mkdir()
    run("tar", "xf", archive, "-C", fresh)
    inside = next(fresh.iterdir()) if strip else fresh
    inside.rename(folder)
    if strip:
        fresh.rmdir()

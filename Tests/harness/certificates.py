"""Certificates for tests, made with the program openssl."""

import datetime
import functools
import pathlib
import subprocess
import tempfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate and of its key."""

    file: str
    key: str


class Authority:
    """An authority in a folder of its own, and the certificates that it has signed."""

    def __init__(self, name="authority"):
        self._folder = tempfile.TemporaryDirectory(prefix="redpool-certificates-")
        self._count = 0
        self.file, self._key = self._path("ca.pem"), self._path("ca.key")
        _openssl(
            "req", "-x509", "-nodes", *_new_key(False), "-keyout", self._key, "-out", self.file,
            "-subj", f"/CN={name}", "-days", "2",
        )

    def issue(
        self, names="DNS:cache.test,IP:127.0.0.1", rsa=False, days=2, seconds=None
    ) -> Certificate:
        """A certificate for these names. It has expired if `days` is negative. If `seconds` are
        given, it expires so soon."""
        self._count += 1
        made = Certificate(self._path(f"{self._count}.pem"), self._path(f"{self._count}.key"))
        request, extensions = self._path("request"), self._path("extensions")
        _openssl(
            "req", "-new", "-nodes", *_new_key(rsa), "-keyout", made.key, "-out", request,
            "-subj", f"/CN=number {self._count}",
        )
        pathlib.Path(extensions).write_text(f"subjectAltName={names}\n")
        if seconds is not None:
            self._issue_until(made, request, extensions, seconds)
            return made
        _openssl(
            "x509", "-req", "-in", request, "-out", made.file, "-CA", self.file, "-CAkey",
            self._key, "-set_serial", str(self._count), "-days", str(days), "-extfile", extensions,
        )
        return made

    def _issue_until(self, made, request, extensions, seconds):
        """Only `openssl ca` takes a moment."""
        folder = pathlib.Path(self._path("database"))
        folder.mkdir(exist_ok=True)
        (folder / "index").write_text("")
        (folder / "serial").write_text(f"{4096 + self._count}\n")
        (folder / "config").write_text(
            f"[ca]\ndefault_ca=x\n[x]\ndatabase={folder}/index\nserial={folder}/serial\n"
            f"new_certs_dir={folder}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        now = datetime.datetime.now(datetime.timezone.utc)
        first, last = (
            f"{now + datetime.timedelta(seconds=from_now):%Y%m%d%H%M%SZ}"
            for from_now in (-60, seconds))
        _openssl(
            "ca", "-batch", "-notext", "-config", folder / "config", "-cert", self.file,
            "-keyfile", self._key, "-in", request, "-out", made.file, "-extfile", extensions,
            "-startdate", first, "-enddate", last,
        )

    def _path(self, name) -> str:
        return str(pathlib.Path(self._folder.name) / name)


def _new_key(rsa):
    if rsa:
        return ["-newkey", "rsa:2048"]
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


@functools.cache
def authority() -> Authority:
    """The authority of this test process."""
    return Authority()


@functools.cache
def other_authority() -> Authority:
    """Another one, which has signed none of its certificates."""
    return Authority("other")


@functools.cache
def server_certificate(rsa=False) -> Certificate:
    """A certificate of it for cache.test, 127.0.0.1 and ::1."""
    return authority().issue("DNS:cache.test,IP:127.0.0.1,IP:::1", rsa=rsa)

"""Certificates for tests, made with the program openssl."""

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

    def issue(self, names="DNS:cache.test,IP:127.0.0.1", rsa=False, days=2) -> Certificate:
        """A certificate for these names. It has expired if `days` is negative."""
        self._count += 1
        made = Certificate(self._path(f"{self._count}.pem"), self._path(f"{self._count}.key"))
        request, extensions = self._path("request"), self._path("extensions")
        _openssl(
            "req", "-new", "-nodes", *_new_key(rsa), "-keyout", made.key, "-out", request,
            "-subj", f"/CN=number {self._count}",
        )
        pathlib.Path(extensions).write_text(f"subjectAltName={names}\n")
        _openssl(
            "x509", "-req", "-in", request, "-out", made.file, "-CA", self.file, "-CAkey",
            self._key, "-set_serial", str(self._count), "-days", str(days), "-extfile", extensions,
        )
        return made

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

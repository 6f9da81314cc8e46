"""The C programs of Benchmarks/. They are built when needed."""

import json
import pathlib
import subprocess

from . import processes
from .processes import Trouble

HERE = pathlib.Path(__file__).resolve().parent.parent


def build(stage):
    """Compiles `load` and `floor` in the directory of the stage. Returns whether `load` supports
    TLS."""
    compiler = processes.need("cc")
    flags = ["-O2", "-Wall", "-Wextra"]
    subprocess.run(
        [compiler, *flags, "-o", stage.directory / "floor", HERE / "floor.c"], check=True)
    load = [compiler, *flags, "-o", stage.directory / "load", HERE / "load.c"]
    with_tls = subprocess.run(
        [*load, "-DTLS", "-lssl", "-lcrypto"], capture_output=True, check=False)
    if with_tls.returncode != 0:
        subprocess.run(load, check=True)
    return with_tls.returncode == 0


def load(stage, place, **options):
    """Runs the load generator against a port or a unix socket. Returns its report."""
    words = ["-h" if isinstance(place, int) else "-s", place]
    for name, value in options.items():
        if value is True:
            words.append(f"-{name}")
        elif value is not None and value is not False:
            words += [f"-{name}", value]
    done = subprocess.run(
        [stage.directory / "load", *map(str, words)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Trouble(f"load {' '.join(map(str, words))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def secure_redis(stage, *options):
    """A redis-server that speaks TLS as well: process, port, path of its unix socket, TLS port."""
    file, key = certificate(stage)
    tls_port = processes.free_port()
    return *stage.redis("--tls-port", tls_port, "--tls-cert-file", file, "--tls-key-file", key,
                        "--tls-auth-clients", "no", *options), tls_port


def certificate(stage):
    """A self-signed RSA 2048 certificate for this machine, and its key."""
    files = stage.directory / "certificate.pem", stage.directory / "key.pem"
    if not files[0].exists():
        subprocess.run(
            [processes.need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
             "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
             "-out", files[0], "-keyout", files[1]],
            check=True, capture_output=True)
    return files

"""The C programs of Benchmarks/. They are built when needed."""

import json
import pathlib
import subprocess

from . import processes
from .processes import Trouble

HERE = pathlib.Path(__file__).resolve().parent.parent


def build(stage):
    """Compiles the programs in the directory of the stage. Returns whether `load` supports TLS."""
    compiler = processes.need("cc")
    flags = ["-O2", "-Wall", "-Wextra"]
    for name in ("floor", "listen"):
        subprocess.run(
            [compiler, *flags, "-o", stage.directory / name, HERE / f"{name}.c"], check=True)
    load = [compiler, *flags, "-o", stage.directory / "load", HERE / "load.c"]
    with_tls = subprocess.run(
        [*load, "-DTLS", "-lssl", "-lcrypto"], capture_output=True, check=False)
    if with_tls.returncode != 0:
        subprocess.run(load, check=True)
    return with_tls.returncode == 0


def load(stage, place, begin=None, **options):
    """Runs the load generator against a port, the ports of a cluster's nodes, or a unix socket.
    Calls `begin` when all its clients are connected. Returns its report."""
    words = ["-h", place] if isinstance(place, int) else ["-s", place]
    if isinstance(place, list):
        words = ["-h", ",".join(map(str, place))]
    for name, value in options.items():
        if value is True:
            words.append(f"-{name}")
        elif value is not None and value is not False:
            words += [f"-{name}", value]
    with subprocess.Popen(
            [stage.directory / "load", *map(str, words), *(["-w"] if begin else [])], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            if begin and process.stdout.readline():
                begin()
            found, errors = process.communicate("\n" if begin else None, timeout=300)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise Trouble(f"load {' '.join(map(str, words))}: {errors.strip()}")
    return json.loads(found)


def secure_redis(stage, *options, key="rsa"):
    """A redis-server that speaks TLS as well: process, port, path of its unix socket, TLS port."""
    certificate_file, key_file = certificate(stage, key)
    tls_port = processes.free_port()
    return *stage.redis("--tls-port", tls_port, "--tls-cert-file", certificate_file,
                        "--tls-key-file", key_file, "--tls-auth-clients", "no", *options), tls_port


KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}


def certificate(stage, key="rsa"):
    """A self-signed certificate for this machine, and its key: RSA 2048 or ECDSA P-256."""
    files = [stage.directory / f"{key}-{what}.pem" for what in ("certificate", "key")]
    if not files[0].exists():
        subprocess.run(
            [processes.need("openssl"), "req", "-x509", "-newkey", *KEYS[key], "-nodes", "-days",
             "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
             "-out", files[0], "-keyout", files[1]],
            check=True, capture_output=True)
    return files

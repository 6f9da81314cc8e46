"""The container image, unpacked and run without a container engine."""

import gzip
import hashlib
import json
import os
import subprocess

import pytest

from harness.daemon import run_cli, yaml
from harness.package import make
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Address, Connection

pytestmark = pytest.mark.daemon


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image's archive, unpacked."""
    if os.getuid() != 0:
        pytest.skip("needs root to run an image without a container engine")
    folder = tmp_path_factory.mktemp("image")
    path = make("package-image", "image")
    (folder / "oci").mkdir()
    assert run("tar", "-xf", path, "-C", folder / "oci").returncode == 0
    return folder


def blob(image, descriptor) -> bytes:
    """The bytes of a part, which have to be what its descriptor says."""
    data = (image / "oci/blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert len(data) == descriptor["size"]
    assert descriptor["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
    return data


@pytest.fixture(scope="module")
def contained(image):
    """The image's configuration, and its root."""
    assert json.loads((image / "oci/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((image / "oci/index.json").read_text())
    manifest = json.loads(blob(image, index["manifests"][0]))
    config = json.loads(blob(image, manifest["config"]))
    layer = gzip.decompress(blob(image, manifest["layers"][0]))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    (image / "layer.tar").write_bytes(layer)
    root = image / "root"
    root.mkdir()
    assert run("tar", "-xpf", image / "layer.tar", "-C", root).returncode == 0
    return config, root


# A container engine's work: a PID namespace, the root read-only, no /proc, no rights.
CONTAINER = """
set -e
mount --bind "$1" "$1"
[ -z "$2" ] || mount --bind "$2" "$1/etc/redpool"
mount -o remount,bind,ro "$1"
cd "$1"
shift 2
exec setpriv --no-new-privs chroot --userspec=4711:4711 --groups= . "$@"
"""


def test_the_image_runs_as_any_user_with_a_read_only_root(contained, launch, tmp_path):
    config, root = contained
    assert config["config"]["User"] == "65532:65532"
    server, address = launch.server(), Address("127.0.0.1", free_port())
    (tmp_path / "redpool.yaml").write_text(
        yaml({"pools": {"main": {"listen": address.text, "upstream": server.tcp.text}}}))
    os.chmod(tmp_path, 0o755)
    command = config["config"]["Entrypoint"] + config["config"]["Cmd"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CONTAINER, "sh",
             root, tmp_path, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
    try:
        def answers():
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                with Connection(address) as client:
                    return client.command("PING") == b"PONG"
            except OSError:
                return False

        eventually(answers, what="an answer through the image's daemon")
        first = run("pgrep", "--parent", process.pid).stdout.split()
        assert len(first) == 1
        # As `docker stop` does.
        os.kill(int(first[0]), 15)
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait(60)


def test_the_image_has_its_own_configuration_and_little_else(contained):
    config, root = contained
    done = run_cli("check", root / "etc/redpool/redpool.yaml")
    assert done.returncode == 0, done.stderr
    size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file())
    assert size < 40_000_000
    assert not (root / "bin/sh").exists() and not (root / "usr/bin/dpkg").exists()
    assert not list(root.rglob("*perl*")), "what the packages of TLS bring and nobody needs"
    version = config["config"]["Labels"]["org.opencontainers.image.version"]
    assert version == run_cli("--version").stdout.strip()


def test_the_image_trusts_whom_debian_trusts(contained, tmp_path):
    _, root = contained
    assert (root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERT") > 100
    text = yaml({"pools": {"main": {
        "listen": "127.0.0.1:6380", "upstream": "rediss://cache.example.com"}}})
    done = subprocess.run(
        ["chroot", "--userspec=4711:4711", root, "/usr/bin/redpool", "check", "-"], input=text,
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

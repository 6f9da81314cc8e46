"""A reload replaces the certificates of TLS listeners, with the rest or not at all."""

import re
import shutil
import ssl

import pytest

from harness.certificates import authority, other_authority, server_certificate
from harness.daemon import listener_files
from harness.load import Neighbours
from harness.tls import client_context
from harness.wire import Address, Connection
from reload_classes import TESTS, key
from test_tls_listeners import client_certificate, connect, refused, says

pytestmark = pytest.mark.daemon
NEW = "new connections"


@pytest.fixture
def files(tmp_path):
    """Where the daemon finds its certificate; a call puts another one there."""
    paths = {"listenCertFile": tmp_path / "cert.pem", "listenKeyFile": tmp_path / "key.pem"}

    def put(certificate=None):
        certificate = certificate or authority().issue()
        shutil.copy(certificate.file, paths["listenCertFile"])
        shutil.copy(certificate.key, paths["listenKeyFile"])
        return ssl.PEM_cert_to_DER_cert(paths["listenCertFile"].read_text())

    put.paths = paths
    put.keys = {key: str(path) for key, path in paths.items()}
    return put


def shown(redpool) -> bytes:
    with connect(redpool) as client:
        assert client.command("PING") == b"PONG"
        return client.socket.certificate()


def test_another_certificate_under_load(launch, files):
    first = files()
    redpool = launch.redpool(launch.server(), tls=True, pool=files.keys)
    with Neighbours(redpool.tcp, clients=8) as neighbours:
        neighbours.go_on()
        assert shown(redpool) == first
        second = files()
        line = redpool.reload()
        assert "pools.main: other TLS files for clients" in line, line
        says(redpool, "level=notice event=tls.reloaded", "side=client")
        assert shown(redpool) == second
        assert "changes=none" in redpool.reload()
        assert redpool.log().count("event=tls.reloaded") == 1
        neighbours.go_on()


@pytest.mark.parametrize("broken", ["empty", "half", "foreign key"])
def test_a_broken_file_changes_nothing(launch, files, broken):
    first = files()
    redpool = launch.redpool(launch.server(), tls=True, pool=files.keys)
    cert, key = files.paths.values()
    if broken == "empty":
        cert.write_text("")
        reason = r"listenCertFile: \S+ has no certificate"
    elif broken == "half":
        text = cert.read_text()
        cert.write_text(text[: len(text) // 2])
        reason = r"listenCertFile: \S+ has a certificate that cannot be used"
    else:
        shutil.copy(client_certificate().key, key)
        reason = r"listenKeyFile: \S+ does not belong to the certificate in listenCertFile"
    redpool.reload(refused=True)
    assert re.search(f"redpool.yaml:.*pools.main.{reason}", redpool.log())
    assert shown(redpool) == first


def test_an_address_changes_to_tls_and_back(launch):
    redpool = launch.redpool(launch.server(), tls=False)
    secured = Address(host="127.0.0.1", port=redpool.tcp.port, tls=True)
    with redpool.connect() as plain:
        assert plain.command("PING") == b"PONG"
        redpool.reload(listen=[secured.text], **listener_files())
        assert plain.read_until_closed() == b""
    with Connection(secured) as client:
        assert client.command("PING") == b"PONG"
        redpool.reload(listen=[redpool.tcp.text], listenCertFile="", listenKeyFile="")
        assert client.read_until_closed() == b""
        assert client.socket.was_told
    with redpool.connect() as plain:
        assert plain.command("PING") == b"PONG"


# Each key.


@key("listenCertFile", NEW)
@key("listenKeyFile", NEW)
def test_other_files(launch):
    first, second = server_certificate(), authority().issue()
    redpool = launch.redpool(launch.server(), tls=True, pool=listener_files(first))
    with connect(redpool) as before:
        assert before.command("PING") == b"PONG"
        redpool.reload(refused=True, listenKeyFile=second.key)
        redpool.reload(listenCertFile=second.file)
        assert shown(redpool) == ssl.PEM_cert_to_DER_cert(open(second.file).read())
        assert before.command("PING") == b"PONG"


@key("listenCaFile", NEW)
def test_another_authority(launch):
    pool = {"listenCaFile": authority().file, "listenClients": "verified"}
    redpool = launch.redpool(launch.server(), tls=True, pool=pool)
    mine = client_context(client_certificate())
    with connect(redpool, mine) as before:
        assert before.command("PING") == b"PONG"
        session = before.socket.session
        redpool.reload(listenCaFile=other_authority().file)
        assert refused(redpool, client_context(client_certificate()))
        # Nor does a session help that the former authority was good for.
        assert refused(redpool, mine, session)
        with connect(redpool, client_context(other_authority().issue())) as client:
            assert client.command("PING") == b"PONG"
        assert before.command("PING") == b"PONG"


@key("listenClients", NEW)
def test_clients_are_verified_from_a_reload_on(launch):
    redpool = launch.redpool(launch.server(), tls=True)
    context = client_context()
    with connect(redpool, context) as before:
        assert before.command("PING") == b"PONG"
        session = before.socket.session
        redpool.reload(listenCaFile=authority().file, listenClients="verified")
        assert before.command("PING") == b"PONG"
        assert refused(redpool, client_context())
        # Nor does a session help from the time when nobody was verified.
        assert refused(redpool, context, session)
        with connect(redpool, client_context(client_certificate())) as client:
            assert client.command("PING") == b"PONG"


KEYS = {name for name, _ in TESTS if name.startswith("listen") and name != "listen"}

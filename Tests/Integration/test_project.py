"""What surrounds the daemon: the quick start, the checks of the sources, the systemd unit."""

import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from harness.daemon import BINARY, ROOT
from harness.ports import free_port
from harness.waiting import eventually
from harness.wire import Address, Connection

UNIT = ROOT / "systemd" / "redpool.service"


def run(*arguments, **options) -> subprocess.CompletedProcess:
    options = {"capture_output": True, "text": True, "timeout": 500} | options
    return subprocess.run([*map(str, arguments)], **options)


# --- the manual


def test_every_event_of_the_log_is_in_the_manual():
    sources = "".join(path.read_text() for path in (ROOT / "Sources").rglob("*.swift"))
    groups = ("pool|client|upstream|worker|config|limits|listen|listener|start|notify|drain|pause|"
              "console|log|reload|exit|loop|tls|sentinel|upgrade")
    events = set(re.findall(rf'"((?:{groups})\.[a-z_]+)"', sources)) | {
        "ready", "failover", "http.unavailable"}
    manual = (ROOT / "docs" / "operations.md").read_text()
    assert len(events) > 40
    assert [event for event in sorted(events) if f"`{event}`" not in manual] == []


# --- the layers


def test_layers_of_the_project_hold():
    done = run(ROOT / "scripts/check-layers")
    assert done.returncode == 0, done.stderr


def layers_with(tmp_path, target, text, rows=("File.swift",)) -> str:
    """What the check says about a project whose only source is `text` in `target`; its map of the
    sources has `rows`."""
    folder = tmp_path / "Sources" / target
    folder.mkdir(parents=True)
    (folder / "File.swift").write_text(text)
    (tmp_path / "docs").mkdir()
    table = "".join(f"| `{row}` | a file |\n" for row in rows)
    (tmp_path / "docs" / "architecture.md").write_text(
        f"# Map\n\n| `Other.swift` | not here |\n\n## Files\n\n### `Sources/{target}`\n\n{table}"
    )
    done = run(ROOT / "scripts/check-layers", tmp_path)
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr


@pytest.mark.parametrize(
    "target,text",
    [
        ("RESP", "import Glibc\n"),
        ("RESP", "package import Foundation\n"),
        ("RESP", "\n\n@preconcurrency internal import struct Pool.Limits\n"),
        ("Pool", "let clock = ContinuousClock()\n"),
        ("Session", "import Config\n"),
        ("Session", "func f() async {}\n"),
        ("Session", "let task = Task { 1 }\n"),
        ("Config", "import EventLoop\n"),
        ("EventLoop", "import Proxy\n"),
        ("Proxy", "import redpool\n"),
        ("Stranger", "let a = 1\n"),
    ],
)
def test_layer_check_sees_what_is_forbidden(tmp_path, target, text):
    found = layers_with(tmp_path, target, "// A comment.\n" + text)
    assert f"Sources/{target}" in found and "comment" not in found


@pytest.mark.parametrize(
    "target,text",
    [
        ("RESP", '// import Glibc, Task\n/* await\n Clock */ let a = "async Task // x"\n'),
        ("Pool", 'let a = """\n  import Foundation\n  """\nlet taskCount = 1, clocks = 2\n'),
        ("Session", "package import RESP\n"),
        ("Config", "internal import CYaml\n"),
    ],
)
def test_layer_check_lets_pass_what_is_allowed(tmp_path, target, text):
    assert layers_with(tmp_path, target, "// A comment.\n" + text) == ""


@pytest.mark.parametrize(
    "text,rows,problem",
    [
        ("// A comment.\nlet a = 1\n", ["File.swift"], None),
        ("\nimport Glibc\n\n/// A comment.\nlet a = 1\n", ["File.swift"], None),
        ("let a = 1\n", ["File.swift"], "does not begin with a comment"),
        ("extension A {\n    /// A comment.\n}\n", ["File.swift"], "does not begin with a comment"),
        ("import Glibc\n", ["File.swift"], "does not begin with a comment"),
        ("// A comment.\n", [], "File.swift: the file is not in the section Files"),
        ("// A comment.\n", ["Other.swift"], "File.swift: the file is not in the section Files"),
        ("// A comment.\n", ["File.swift", "Gone.swift"], "Gone.swift: docs/architecture.md names"),
    ],
)
def test_layer_check_compares_files_with_their_map(tmp_path, text, rows, problem):
    found = layers_with(tmp_path, "Config", text, rows)
    assert problem in found if problem else found == ""


# --- words and numbers of the wire


def wire_check_of(tmp_path, file, text, *options) -> str:
    """What the check says about a project whose only source is `text` in `file`."""
    path = tmp_path / "Sources" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = run(ROOT / "scripts/check-wire", *options, tmp_path)
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr


def test_words_and_numbers_of_the_wire_are_read_in_one_place():
    done = run(ROOT / "scripts/check-wire")
    assert done.returncode == 0, done.stderr


MISREAD = [
    ("numbers", "Proxy/A.swift", "x = Int64(String(decoding: reply, as: UTF8.self))\n"),
    ("numbers", "Telemetry/A.swift", "guard let port = UInt16(text) else { return }\n"),
    ("numbers", "EventLoop/A.swift", "let a = (Int(word.dropFirst(f(1))) ?? 0) + 1\n"),
    ("numbers", "Pool/A.swift", "let all = parts.compactMap { Int($0) }\n"),
    ("numbers", "Proxy/A.swift", "let all = parts.compactMap(UInt32.init)\n"),
    ("numbers", "redpool/A.swift", "if Int(text) != nil { f() }\n"),
    ("numbers", "Session/A.swift", "func f(_ age: String) { limit = Int64(age) }\n"),
    ("numbers", "Session/A.swift", "let text = String(a)\nlimit = UInt64(text, radix: 16)\n"),
    ("numbers", "Proxy/A.swift", "let n = strtoll(bytes, nil, 10)\n"),
    ("range", "Proxy/A.swift", "let seconds = Word.integer(bytes)\n"),
    ("digits", "Session/A.swift", "value = value * 10 + Int(byte - 48)\n"),
    ("digits", "Proxy/A.swift", "value = value &* 10 &+ Int(digit)\n"),
    ("sums", "Proxy/A.swift", "let end = now + item.value\n"),
    ("sums", "Proxy/A.swift", "let nanoseconds = scanner.integer * 1_000_000_000\n"),
    ("sums", "Session/A.swift", "sum += outer.value\n"),
    ("sums", "Session/A.swift", "let count = UInt32(item.value)\n"),
    ("case", "Proxy/A.swift", 'if name.lowercased() == "kill" { f() }\n'),
    ("case", "Session/A.swift", "let folded = byte | 0x20\n"),
    ("case", "Session/A.swift", "word |= 0x2020_2020_2020_2020\n"),
    ("case", "RESP/A.swift", "name.map { $0 >= 65 && $0 <= 90 ? $0 + 32 : $0 }\n"),
    ("case", "Proxy/A.swift", "if strcasecmp(a, b) == 0 { f() }\n"),
    ("prefix", "Proxy/A.swift", 'if line.hasPrefix("run_id:") { f() }\n'),
    ("prefix", "Proxy/A.swift", "if reply.starts(with: wanted) { f() }\n"),
    ("bytes", "Session/A.swift", 'if word == Array("block".utf8) { f() }\n'),
    ("bytes", "Session/A.swift", 'if Array("block".utf8) != word { f() }\n'),
    ("text", "RESP/A.swift", "switch String(decoding: word, as: UTF8.self) {\n"),
    ("text", "Session/A.swift", "let word = String(\n    decoding: bytes, as: UTF8.self)\n"),
    ("text", "Proxy/A.swift", "let word = String(cString: pointer)\n"),
]


@pytest.mark.parametrize("rule,file,text", MISREAD)
def test_wire_check_sees_what_is_forbidden(tmp_path, rule, file, text):
    line = text.count("\n")
    found = wire_check_of(tmp_path, file, "// A comment.\n" + text)
    assert f"Sources/{file}:{line + 1}: {rule}: " in found, found


@pytest.mark.parametrize(
    "file,text",
    [
        ("RESP/Word.swift", "byte | 0x20\nvalue * 10\n"),
        ("Config/A.swift", 'Int(text) ?? 0\nif text.lowercased().hasPrefix("a") { f() }\n'),
        ("redpool/Arguments.swift", "guard let port = Int(text) else { return }\n"),
        ("Proxy/A.swift", '// text.lowercased()\nlet a = "Int(text) ?? 0", b = [item.value]\n'),
        ("Proxy/A.swift", "let seconds = Word.integer(bytes, in: 0...60) ?? 0\n"),
        ("Proxy/A.swift", 'if scanner.head.starts(with: "ERR ") { f() }\n'),
        ("Proxy/A.swift", 'if item.matches("id", in: bytes), item.value == 2 { f() }\n'),
        ("Session/A.swift", 'switch Word(bytes) {\ncase "on", "off": f()\ndefault: g()\n}\n'),
        ("Session/A.swift", 'if word == "skip", first == UInt8(ascii: "*") { f() }\n'),
        ("Pool/A.swift", "let a = Int(b) + 10 * 2, c = Int32(truncatingIfNeeded: b) * 10_000\n"),
        ("Pool/A.swift", "guard let a = Int(exactly: b), f(UInt16(a)) ?? true else { return }\n"),
    ],
)
def test_wire_check_lets_pass_what_is_allowed(tmp_path, file, text):
    assert wire_check_of(tmp_path, file, text) == ""


def test_wire_check_knows_what_it_allows(tmp_path):
    """An exception that nothing needs any more has to go."""
    found = wire_check_of(tmp_path, "Proxy/Server/ServerFacts.swift", "let a = 1\n")
    assert "nothing is allowed any more that has 'line.starts(with: key)'" in found


@pytest.mark.parametrize("content,is_refused", [(b"$sSi1poiyS2i", False), (None, True)])
def test_wire_check_looks_into_objects(tmp_path, content, is_refused):
    """Numbers that are made of strings in a form that no rule of lines knows."""
    made = tmp_path / "objects" / "Proxy.build"
    made.mkdir(parents=True)
    source = tmp_path / "number.swift"
    source.write_text("func f<T>(_ a: T) -> Int? where T: StringProtocol { .init(a) }\n")
    if content is None:
        done = run("swiftc", "-c", "-parse-as-library", source, "-o", made / "A.swift.o")
        assert done.returncode == 0, done.stderr
    else:
        (made / "A.swift.o").write_bytes(content)
    found = wire_check_of(
        tmp_path, "Proxy/A.swift", source.read_text(), "--objects", tmp_path / "objects"
    )
    assert ("Sources/Proxy/A.swift: numbers: " in found) == is_refused


def test_wire_check_wants_objects_where_it_is_to_look(tmp_path):
    found = wire_check_of(tmp_path, "Proxy/A.swift", "let a = 1\n", "--objects", tmp_path)
    assert "no objects" in found


# --- the budgets


@pytest.mark.parametrize("limit,code", [(100, 0), (0.01, 1)])
def test_budget_that_is_exceeded_fails(tmp_path, limit, code):
    # Limits that nothing comes near to: this is about the tool, not about what it measures.
    limits = tmp_path / "budgets.tsv"
    limits.write_text(f"c50 GET, reads\t{limit}\t-\tper wake-up\treads\n")
    done = run(ROOT / "scripts/budgets", "--limits", limits, "--binary", BINARY)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("EXCEEDED" in done.stdout) == (code == 1)


def test_budget_for_what_nothing_measures_fails(tmp_path):
    limits = tmp_path / "budgets.tsv"
    limits.write_text("c51 GET, reads\t1\t-\tper wake-up\treads\n")
    done = run(ROOT / "scripts/budgets", "--limits", limits, "--binary", BINARY)
    assert done.returncode == 1
    assert "c51 GET" in done.stderr


# --- the systemd unit


@pytest.fixture
def unit(tmp_path):
    """The unit with its program at a path that exists here."""
    path = tmp_path / "redpool.service"
    assert "ExecStart=/usr/bin/redpool run --config /etc/redpool/redpool.yaml" in UNIT.read_text()
    path.write_text(UNIT.read_text().replace("/usr/bin/redpool", "/bin/true"))
    shutil.copy(UNIT.parent / "redpool-failed.target", tmp_path)
    return path


def test_unit_is_valid(unit):
    done = run("systemd-analyze", "verify", unit)
    assert done.returncode == 0 and not done.stderr, done


def test_socket_unit_is_valid(unit):
    socket = shutil.copy(ROOT / "systemd" / "redpool.socket", unit.parent)
    done = run("systemd-analyze", "verify", unit, socket)
    assert done.returncode == 0 and not done.stderr, done


def test_unit_s_sandbox_is_tight(unit):
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=16", unit)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


# --- the quick start


@pytest.fixture
def quickstart():
    """The script with its arguments, on ports of our own."""
    if pathlib.Path(BINARY).resolve() != (ROOT / ".build/release/redpool").resolve():
        pytest.skip("the quick start builds in the tree, and another daemon is under test")
    ports = free_port(), free_port()
    arguments = [ROOT / "scripts/quickstart", "--port", ports[0], "--upstream-port", ports[1]]
    return ports, [*map(str, arguments)]


@pytest.mark.daemon
def test_quickstart_once(quickstart):
    (port, upstream), command = quickstart
    done = run(*command, "--once", stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done
    assert f"redis-cli -p {port} PING\nPONG" in done.stdout
    assert "it works" in done.stdout
    assert re.search(r"^main +up +127", done.stdout, re.MULTILINE), "what the console shows"
    for address in (Address("127.0.0.1", port), Address("127.0.0.1", upstream)):
        with pytest.raises(ConnectionRefusedError):
            address.connect()


@pytest.mark.daemon
def test_quickstart_with_tls(quickstart):
    """TLS on both sides, with an authority of its own."""
    (port, upstream), command = quickstart
    done = run(*command, "--once", "--tls", stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done
    assert re.search(rf"redis-cli --tls --cacert \S+ -p {port} PING\nPONG", done.stdout), done
    assert f"rediss://127.0.0.1:{upstream}" in done.stdout
    assert "it works" in done.stdout


@pytest.mark.daemon
def test_quickstart_stays_until_it_is_interrupted(quickstart, server, tmp_path):
    (port, _), command = quickstart
    command[-1] = str(server.port)
    output = tmp_path / "output"
    with open(output, "wb") as stdout:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout)
    try:
        # Behind the demonstration, which a signal would end as well.
        eventually(lambda: "Redpool is running" in output.read_text(), 500, 0.1)
        with Connection(Address("127.0.0.1", port)) as client:
            assert client.command("PING") == b"PONG"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert server.command("PING") == b"PONG"


@pytest.mark.daemon
def test_quickstart_names_an_occupied_port(quickstart, server):
    _, command = quickstart
    command[2] = str(server.port)
    done = run(*command, "--once", stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and str(server.port) in done.stderr, done


@pytest.mark.parametrize("arguments", [["--nosuch"], ["--port"], ["--port", "x"]])
def test_quickstart_usage(arguments):
    done = run(ROOT / "scripts/quickstart", *arguments)
    assert done.returncode == 64 and "usage" in done.stderr


SCRIPTS = (
    "install-dependencies", "install-root", "format", "list-contents", "package-deb",
    "package-image", "package-names", "quickstart", "release", "test")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_valid_shell(name):
    script = ROOT / "scripts" / name
    assert run("bash", "-n", script).returncode == 0
    if shutil.which("shellcheck"):
        done = run("shellcheck", "--severity=warning", script)
        assert done.returncode == 0, done.stdout

"""node-redis's own tests of its client, from a copy of its source, with tools of Debian's."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal

from cache import CACHE, run
from outcome import PROGRAM, Outcome, Suite, finish, start
from redis_own import place

HERE = pathlib.Path(__file__).resolve().parent
# Where Debian's packages for node are.
MODULES = "/usr/share/nodejs"
# Those whose client the tests use, besides the client itself.
PACKAGES = ["client", "test-utils", "bloom", "json", "search", "time-series"]

# The tests of clusters, Sentinels and TLS; and what needs libraries that Debian does not have.
WITHOUT = r"/(cluster|sentinel|opentelemetry|test-scenario|digest\.spec|tls\.spec)"

# Changes to what is compiled: a range of ports of this run's own; Debian 12's yargs; no servers
# for the tests that are left out; and a module that esbuild would wrap.
EDITS = [
    ("test-utils/lib/dockers.js", r"= 6379;", "= Number(process.env.REDPOOL_SUITE_PORT);"),
    ("test-utils/lib/index.js", r"\.parseSync\(\)", ".parse()"),
    (
        "test-utils/lib/index.js",
        r"(?m)^  testWith(TlsClient|Cluster|ProxiedCluster|RECluster|ClientSentinel)\(title.*$",
        r"\g<0>\n    return it.skip(title);",
    ),
    ("client/lib/client/commands-queue.js", r'__toESM\((require\("yallist"\))\)', r"\1"),
]


class NodeRedis(Suite):
    """`source` is a copy of the repository of version 4 or later."""

    def __init__(self, source):
        self.source = pathlib.Path(source) / "packages"
        package = json.loads((self.source / "client" / "package.json").read_text())
        self.version = package["version"]
        self.name = f"node-redis client {self.version}"

    def prepare(self):
        self.folder = CACHE / f"node-redis-{self.version}"
        shutil.rmtree(self.folder, ignore_errors=True)
        scope = self.folder / "node_modules" / "@redis"
        scope.mkdir(parents=True)
        for package in PACKAGES:
            self._compile(package, scope / package)
        for name, pattern, text in EDITS:
            path = scope / name
            path.write_text(re.sub(pattern, text, path.read_text()))
        client = scope / "client"
        paths = (str(path.relative_to(client)) for path in client.glob("lib/**/*.spec.js"))
        self.specs = sorted(path for path in paths if not re.search(WITHOUT, f"/{path}"))

    def _compile(self, package, made):
        files = [path for path in (self.source / package).glob("**/*.ts")
                 if not re.search(r"\.d\.ts$|types-tests|test-scenario", str(path))]
        run("esbuild", *files, f"--outdir={made}", f"--outbase={self.source / package}",
            "--format=cjs", "--platform=node", "--target=node18", "--log-level=error")
        # Its parts name each other as they are and as they would be in the published package.
        (made / "dist").symlink_to(".")
        main = "./index.js" if (made / "index.js").exists() else "./lib/index.js"
        text = json.loads((self.source / package / "package.json").read_text())
        (made / "package.json").write_text(json.dumps(text | {"main": main}))

    def begin(self, stand, only=None):
        """The tests start servers of their own, so the stand's are not used."""
        number, held = place()
        environment = {
            "NODE_PATH": MODULES,
            "PATH": f"{HERE / 'standin' / 'containers'}:{os.environ['PATH']}",
            "REDPOOL_SUITE_PORT": str(21111 + number * 40),
            "REDPOOL_SUITE_FOLDER": str(stand.folder),
            "REDPOOL_SUITE_SETTINGS": json.dumps(stand.settings),
        }
        server = run(os.environ.get("REDPOOL_SERVER", "redis-server"), "--version")
        version = re.search(r"v=(\d+\.\d+)", server)[1]
        command = ["node", f"{MODULES}/mocha/bin/mocha.js", "--exit", "--reporter", "tap"]
        command += ["--timeout", 60000, *(["--fgrep", only[0]] if only else []), *self.specs]
        command += [f"--redis-tag={version}", f"--redis-version={version}"]
        client = self.folder / "node_modules" / "@redis" / "client"
        process = start(command, stand, client, environment)
        process.place = held
        return process

    def end(self, process, timeout) -> Outcome:
        text = finish(process, timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.place.close()
        outcome = Outcome()
        for failed, name, skipped, message in re.findall(
            r"^(not )?ok \d+ (.*?)( # SKIP -)?$\n(?:  (.*))?", text, re.M
        ):
            # Some names stand for several tests: one that fails is a failure of the name.
            if name not in outcome.failed:
                state = "skipped" if skipped else "failed" if failed else "passed"
                outcome.add(name, state, message if failed else "")
        if not re.search(r"^# pass [1-9]", text, re.M):
            outcome.add(PROGRAM, "failed", text[-200:])
        return outcome

"""Real applications: job queues, caches, sessions and redis-py's own building blocks."""

import pathlib
import xml.etree.ElementTree as xml

from cache import virtualenv
from outcome import Outcome, Suite, finish, start

REQUIREMENTS = [
    "redis==6.4.0", "hiredis==3.2.1", "rq==2.6.0", "celery==5.5.3", "huey==2.5.3",
    "dramatiq==1.18.0", "Flask==3.1.2", "Flask-Session==0.8.0", "Django==5.2.6",
    "django-redis==6.0.0", "Flask-SocketIO==5.7.0", "python-socketio==5.18.1",
    "simple-websocket==1.1.0", "aiohttp==3.14.5", "channels==4.3.2", "channels_redis==4.3.0",
    "pytest==8.4.2", "pytest-timeout==2.4.0",
]


class Applications(Suite):
    name = "applications"

    def prepare(self):
        self.python = virtualenv("applications", *REQUIREMENTS)

    def begin(self, stand, only=None):
        folder = pathlib.Path(__file__).resolve().parent / "apps"
        report = stand.folder / "report.xml"
        command = [
            self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "90",
            "--tb", "short", "--junitxml", report, *(only or [folder]),
        ]
        environment = {
            "REDIS_PORT": str(stand.port), "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
        }
        return start(command, stand, folder, environment, report=report)

    def end(self, process, timeout) -> Outcome:
        text = finish(process, timeout)
        if not process.report.exists():
            raise RuntimeError(f"applications: no report\n{text[-3000:]}")
        outcome = Outcome()
        for case in xml.parse(process.report).getroot().iter("testcase"):
            name = f"{case.get('classname').rpartition('.')[2]}.py::{case.get('name')}"
            problem = case.find("failure")
            problem = case.find("error") if problem is None else problem
            state = "passed" if problem is None else "failed"
            outcome.add(name, state, "" if problem is None else problem.get("message") or text[-300:])
        return outcome

"""The table of stacks: how each application is started, and which scenario it must pass.

To add a stack, add an application with the scenario's routes and a row here; README.md has the list
of routes.
"""

import os
import re
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from . import install
from .browser import Browser
from .processes import Child, Failure, free_port, run_step, wait_until
from .resp import Store
from .scenario import LONG_TTL, SHORT_TTL, ExpressScenario, KeptConnections, Scenario, WriteThroughScenario


@dataclass
class Stack:
    """An application of which three copies run: two clones, and one whose sessions are short-lived.

    `command` may contain {port}, {redis_port} and {ttl}; the same three, and `env`, are in the
    environment as PORT, REDIS_PORT and TTL. `protocol` is the RESP version its client must speak.
    """

    name: str
    needs: tuple
    command: list
    scenario: type = KeptConnections
    protocol: int = None
    env: dict = field(default_factory=dict)
    prepare: list = None

    def run(self, redis_port, directory, report):
        """Runs every case; `report(case, why)` takes each result, `why` being None for a pass."""
        with ExitStack() as running:
            try:
                scenario = self._start(redis_port, directory, running)
            except (Failure, OSError) as error:
                report("start the clones", str(error))
                return
            for case, method in scenario.cases():
                logs = LogTails(directory)
                try:
                    scenario.store.command("FLUSHALL")
                    method(scenario)
                except Exception as error:
                    report(case, describe(error) + logs.text())
                    if isinstance(error, OSError):
                        # The connection may be out of step with its replies now: take another.
                        scenario.store = running.enter_context(Store(redis_port))
                else:
                    report(case, None)

    def _start(self, redis_port, directory, running):
        environment = os.environ | self.env | {
            "DATABASE": os.path.join(directory, "database.sqlite3"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "REDIS_PORT": str(redis_port),
        }
        if self.prepare:
            run_step(self.prepare, 60, env=environment | {"TTL": str(LONG_TTL)})
        clones = []
        for name, ttl in (("a", LONG_TTL), ("b", LONG_TTL), ("brief", SHORT_TTL)):
            port = free_port()
            values = {"port": str(port), "redis_port": str(redis_port), "ttl": str(ttl)}
            command = [word.format_map(values) for word in self.command]
            settings = {key.upper(): value for key, value in values.items()}
            log = os.path.join(directory, f"{name}.log")
            clones.append((running.enter_context(Child(command, log, environment | settings)), port))
        for child, port in clones:
            wait_until(lambda: is_up(child, port), 30, f"an answer of the application on port {port}")
        store = running.enter_context(Store(redis_port))
        ports = [port for _, port in clones]
        return self.scenario(store, *ports, self.protocol)


class LogTails:
    """What the clones write from the moment this is made, to stand below a failure."""

    def __init__(self, directory):
        self._begun = {log: log.stat().st_size for log in sorted(Path(directory).glob("*.log"))}

    def text(self):
        """The lines of each clone, each with a newline before it; the middle of a long log is left out."""
        lines = []
        for log, begun in self._begun.items():
            own = log.read_bytes()[begun:].decode("utf-8", "replace").splitlines()
            if len(own) > 16:
                own[6:-8] = ["..."]
            lines += [f"\n{log.stem}: {line}" for line in own]
        return "".join(lines)


@dataclass
class ActixAcceptance:
    """The acceptance tests that actix-session carries for its Redis store, run as it runs them."""

    name: str = "actix-acceptance"
    needs: tuple = ("actix-source",)

    def run(self, redis_port, _directory, report):
        """Every test of the crate's Redis storage module is a case."""
        environment = install.cargo_environment() | {
            "ACTIX_SESSION_TEST_URL": f"redis://127.0.0.1:{redis_port}"
        }
        command = install.actix_test_command() + ["--", "storage::redis_rs"]
        try:
            output, failed = run_step(command, 120, lines=200, env=environment), None
        except Failure as error:
            output = failed = str(error)
        results = re.findall(r"^test storage::redis_rs::tests::(\w+) \.\.\. (\w+)$", output, re.MULTILINE)
        for case, result in results:
            report(case.replace("_", " "), None if result == "ok" else output)
        if all(result == "ok" for _, result in results) and (failed or not results):
            report("run the crate's tests", failed or "the crate has no such tests any more")


def describe(error):
    """An exception as one line; a failed assertion's text stands for itself."""
    if isinstance(error, (AssertionError, Failure)):
        return str(error) or "an assertion failed"
    return f"{type(error).__name__}: {error}"


def is_up(child, port):
    """Whether the application answers; raises once it has ended."""
    child.must_run()
    try:
        return Browser().get(port, "/whoami").status == 200
    except OSError:
        return False


def _node(name, entry, protocol):
    return Stack(name, ("node",), ["node", str(install.NODE / entry)], ExpressScenario, protocol)


def _python(name, app, scenario=KeptConnections, env=None, prepare=()):
    command = [str(install.VENV / "bin" / "python"), str(install.HERE / "python" / app)]
    migration = command + list(prepare) if prepare else None
    return Stack(name, ("python",), command, scenario, 3, env or {}, migration)


def _django(name, engine, backend):
    env = {"ENGINE": engine, "BACKEND": backend}
    if engine == "cached_db":
        return _python(name, "django_app.py", WriteThroughScenario, env, ["migrate"])
    return _python(name, "django_app.py", env=env)


def _rust(name, program, protocol):
    binary = str(install.CARGO_TARGET / "debug" / program)
    return Stack(name, ("rust",), [binary], protocol=protocol, env={"RESP": str(protocol)})


def _php():
    settings = {
        "session.save_handler": "redis",
        "session.save_path": "tcp://127.0.0.1:{redis_port}",
        "session.gc_maxlifetime": "{ttl}",
        "session.use_strict_mode": "1",
        "redis.session.locking_enabled": "0",
    }
    options = [word for name, value in settings.items() for word in ("-d", f"{name}={value}")]
    command = [shutil.which("php") or "php", "-q", *options, "-S", "127.0.0.1:{port}"]
    # Workers, so that requests of one clone overlap as they do below a real web server.
    env = {"PHP_CLI_SERVER_WORKERS": "4"}
    return Stack("php", ("php",), command + [str(install.HERE / "php" / "router.php")], Scenario, env=env)


def all_stacks():
    """Every stack, in the order they run."""
    core, contributed = "django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"
    return [
        _node("express-connect-redis-10-node-redis-6", "node-redis.mjs", 3),
        _node("express-connect-redis-7-ioredis-5", "ioredis.mjs", 2),
        _django("django-cache", "cache", core),
        _django("django-cached-db", "cached_db", core),
        _django("django-redis-cache", "cache", contributed),
        _django("django-redis-cached-db", "cached_db", contributed),
        _python("flask-session", "flask_app.py"),
        _python("starsessions", "starlette_app.py"),
        _php(),
        _rust("tower-sessions-fred-resp2", "tower-app", 2),
        _rust("tower-sessions-fred-resp3", "tower-app", 3),
        _rust("actix-session-redis-rs-resp2", "actix-app", 2),
        _rust("actix-session-redis-rs-resp3", "actix-app", 3),
        ActixAcceptance(),
    ]

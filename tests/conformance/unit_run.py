"""Runs one unit of the suite against one fresh server and reads what it reported.

Owns the processes: the server, and runtest in a process group of its own; both are gone when `run` returns, also after
a timeout. Runs do not know of each other: each has a copy of the suite. Must not judge the outcome.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lists import Unit
from redis_source import PROGRAMS, ROOT, WORK

START_SECONDS = 10
UNIT_SECONDS = 400
OUTSIDE = "(outside a test)"

WRAPPER = """#!/bin/bash
port=$(sed -n 's/^port //p' "$1" 2>/dev/null)
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
announce() {
    until answers; do kill -0 $$ 2>/dev/null || return; sleep 0.02; done
    echo " PID: $$"
    echo "Ready to accept connections"
}
if [ -n "$port" ]; then (announce &); fi
exec SERVER "$@" SETTINGS
"""


@dataclass
class Outcome:
    """What a unit reported: how often each name passed and failed, why it failed, and what went wrong around it."""

    passed: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def run(suite: Path, unit: Unit, label: str, command: str, port: int, skipped: list[str]) -> Outcome:
    """Runs `unit`; `command` holds `{port}` and `{dir}`; ports from `port` to `port + 899` are the unit's."""
    log = WORK / "logs" / label / f"{unit.name.replace('/', '-')}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = f"--baseport {port + 100} --portcount 800 --clients 1 --durable --no-latency --single {unit.file}"
    runtest = ["./runtest", *options.split(), "--tags", unit.tags]
    runtest += [word for name in skipped for word in ("--skiptest", name)]
    with tempfile.TemporaryDirectory(prefix="conformance-", dir=WORK) as directory:
        place, data = own_copy(suite, Path(directory) / "suite"), Path(directory) / "data"
        data.mkdir()
        if unit.starts_servers:
            with_wrapper(place, command)
            ending = run_suite(place, runtest, log)
        else:
            server = start_server(command, port, str(data), log.with_suffix(".server.txt"))
            try:
                ending = run_suite(place, [*runtest, "--host", "127.0.0.1", "--port", str(port)], log)
                if server.poll() is not None:
                    ending = f"the server ended with {server.returncode}"
            finally:
                stop(server)
    outcome = read_log(log.read_text(errors="replace"))
    if ending:
        outcome.outside.append(ending)
    return outcome


def own_copy(suite: Path, place: Path) -> Path:
    """A suite of the run's own: each start of runtest removes what another one keeps below tests/tmp."""
    place.mkdir()
    for part in suite.iterdir():
        if part.name not in ("tests", "src"):
            (place / part.name).symlink_to(part)
    shutil.copytree(suite / "tests", place / "tests", ignore=shutil.ignore_patterns("tmp"))
    (place / "tests" / "tmp").mkdir()
    (place / "src").mkdir()
    for program in PROGRAMS:
        if (found := shutil.which(program)) is not None:
            (place / "src" / program).symlink_to(found)
    return place


def start_server(command: str, port: int, directory: str, log: Path) -> subprocess.Popen:
    """Starts the server and waits until it accepts connections."""
    words = [word.replace("{port}", str(port)).replace("{dir}", directory) for word in shlex.split(command)]
    with log.open("w") as output:
        server = subprocess.Popen(words, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server
        except OSError:
            time.sleep(0.05)
    stop(server)
    raise RuntimeError(f"the server does not answer on port {port}, see {log}")


def with_wrapper(suite: Path, command: str) -> None:
    """Puts a program where the suite looks for redis-server when it starts servers itself.

    The suite learns from two lines of the server's log that it is up. Their wording is no part of what is compared, so
    the wrapper writes them as soon as the port answers, from a process that is not the server's child. Of the command's
    settings only the number of event loops is kept: all others are the suite's.
    """
    program, *settings = shlex.split(command)
    loops = settings[settings.index("--threads") :] if "--threads" in settings else []
    found = os.path.abspath(shutil.which(program) or ROOT / program)
    wrapper = suite / "src" / "redis-server"
    wrapper.write_text(WRAPPER.replace("SERVER", shlex.quote(found)).replace("SETTINGS", shlex.join(loops)))
    wrapper.chmod(0o755)


def run_suite(suite: Path, words: list[str], log: Path) -> str | None:
    """Runs runtest into `log`; returns what went wrong with the run itself, if anything."""
    environment = {**os.environ, "TERM": "dumb"}
    with log.open("w") as output:
        runtest = subprocess.Popen(
            words, cwd=suite, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            runtest.wait(UNIT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"no end after {UNIT_SECONDS} s"
        finally:
            stop(runtest)
    return None


def stop(process: subprocess.Popen) -> None:
    """Ends a process with everything it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def read_log(text: str) -> Outcome:
    """Reads runtest's report; an error that names no test happened between tests and ended its block early."""
    outcome = Outcome()
    reports = re.findall(r"^\[(ok|err|ignore|exception|TIMEOUT)\]: (.*(?:\n(?!\[[\w/ ]+\]:|\[\d+/|\n|Testing ).*)*)", text, re.MULTILINE)
    for status, report in reports:
        first, _, rest = report.partition("\n")
        if status == "ok":
            outcome.passed[re.sub(r" \(-?\d+ ms\)$", "", first)] += 1
        elif status == "ignore":
            outcome.ignored.append(first)
        elif status == "err" and (named := re.match(r"(.*) in tests/(?:unit|integration)/\S+\.tcl$", first)):
            outcome.failed[named.group(1)] += 1
            outcome.messages[named.group(1)] = rest.strip()
        else:
            outcome.outside.append(report.strip())
    return outcome

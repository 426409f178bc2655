"""Child processes: free ports, starting, waiting with a deadline, and ending them with their children."""

import os
import shlex
import signal
import socket
import subprocess
import time

from .resp import Store, StoreError

PORTS = range(21000, 22000)
_next_port = 0


class Failure(Exception):
    """Something a test needs did not happen; the text says what."""


def free_port():
    """A port of PORTS that nothing listens on. Each is handed out once, until all have been."""
    global _next_port
    for _ in PORTS:
        port = PORTS[_next_port % len(PORTS)]
        _next_port += 1
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failure(f"no free port in {PORTS.start}..{PORTS.stop - 1}")


def wait_until(condition, seconds, what):
    """Calls `condition` until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def run_step(command, seconds, lines=20, **options):
    """Runs a command to its end and returns its output, standard error included unless told otherwise.

    A failure's text is the command and the last `lines` of that output.
    """
    options.setdefault("stderr", subprocess.STDOUT)
    try:
        done = subprocess.run(
            command,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            **options,
        )
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{shlex.join(command)}: still running after {seconds} s") from None
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-lines:])
        raise Failure(f"{shlex.join(command)}: exit code {done.returncode}\n{tail}")
    return done.stdout


class Child:
    """A running process, leader of a process group of its own, with its output in a file."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = log
        with open(log, "wb") as output:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise Failure(f"cannot start {command[0]}: {error.strerror}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def must_run(self):
        """Fails once the process has ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise Failure(f"ended with code {code}\n{self.tail()}")

    def stop(self):
        """Asks the group to end, insists after two seconds, and reaps the leader."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()

    def tail(self, lines=15):
        """The last lines the process wrote."""
        with open(self.log, encoding="utf-8", errors="replace") as output:
            return "\n".join(output.read().splitlines()[-lines:])


def start_server(template, directory):
    """Starts the store from a command with {port} and {dir}; returns the child and its port."""
    port = free_port()
    words = [word.replace("{port}", str(port)).replace("{dir}", directory) for word in shlex.split(template)]
    child = Child(words, os.path.join(directory, "server.log"))

    def answers():
        child.must_run()
        try:
            with Store(port) as store:
                return store.command("PING") == "PONG"
        except (OSError, StoreError):
            return False

    try:
        wait_until(answers, 15, f"PONG from {template}")
    except BaseException:
        child.stop()
        raise
    return child, port

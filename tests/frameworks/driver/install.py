"""Installs what the stacks need, below target/frameworks, in the pinned versions.

Each installer does nothing when its result is already there, which a stamp with the hash of the
lock file tells. Only Debian's packages go into the system, and only when they are missing.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .processes import Failure, run_step

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target" / "frameworks"
VENV = TARGET / "venv"
NODE = TARGET / "node"
CARGO_TARGET = TARGET / "rust"
ACTIX_SOURCE = TARGET / "actix-session"

# Seconds for a download or a build from nothing, on two slow cores.
PATIENCE = 1200


def debian(*packages):
    """Installs Debian packages, with sudo when the user is not root."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = [*prefix, "apt-get"]
    run_step([*apt, "update"], 300, env=environment)
    run_step([*apt, "install", "-y", "--no-install-recommends", *packages], 600, env=environment)


def redis_server():
    """Debian's redis-server, the oracle."""
    if not shutil.which("redis-server"):
        debian("redis-server")


def python():
    """A virtual environment with the packages of python/requirements.txt."""
    pins = HERE / "python" / "requirements.txt"
    with Stamp(VENV, pins) as stamp:
        if stamp.fresh:
            return
        try:
            run_step([sys.executable, "-m", "venv", "--clear", str(VENV)], 120)
        except Failure:
            # Debian keeps the part of venv that brings pip in a package of its own.
            debian("python3-venv")
            run_step([sys.executable, "-m", "venv", "--clear", str(VENV)], 120)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        run_step([*pip, "install", "--quiet", "--no-deps", "-r", str(pins)], PATIENCE)


def node():
    """The packages of node/package-lock.json. The programs lie beside them, where imports look."""
    NODE.mkdir(parents=True, exist_ok=True)
    for source in (HERE / "node").iterdir():
        shutil.copy(source, NODE)
    with Stamp(NODE, HERE / "node" / "package-lock.json") as stamp:
        if not stamp.fresh:
            run_step(["npm", "ci", "--no-audit", "--no-fund"], PATIENCE, cwd=NODE)


def php():
    """PHP's command line and Debian's php-redis."""

    def modules():
        return run_step(["php", "-m"], 30).split() if shutil.which("php") else []

    if "redis" not in modules():
        debian("php-cli", "php-redis")
        if "redis" not in modules():
            raise Failure("php -m does not list redis after installing php-redis")


def rust():
    """The programs of the workspace in rust/."""
    run_step(
        ["cargo", "build", "--locked", "--manifest-path", str(HERE / "rust" / "Cargo.toml")],
        PATIENCE,
        env=cargo_environment(),
    )


def actix_source():
    """The tests inside actix-session, which only its own source tree can build.

    The tree is cargo's copy of the published crate, in the version rust/Cargo.lock pins. Its tests
    expect the store on port 6379; the one change made is that they read its address from
    ACTIX_SESSION_TEST_URL.
    """
    lock_file = HERE / "rust" / "Cargo.lock"
    with Stamp(ACTIX_SOURCE, lock_file) as stamp:
        if not stamp.fresh:
            copy_actix_source()
    run_step([*actix_test_command(), "--no-run"], PATIENCE, env=cargo_environment())


def copy_actix_source():
    """Fills ACTIX_SOURCE from cargo's registry and changes the address in its tests."""
    manifest = str(HERE / "rust" / "Cargo.toml")
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", manifest]
    # Its standard output is JSON; downloads are told on standard error and must not mix in.
    metadata = json.loads(run_step(command, PATIENCE, env=cargo_environment(), stderr=subprocess.DEVNULL))
    package = next(package for package in metadata["packages"] if package["name"] == "actix-session")
    shutil.rmtree(ACTIX_SOURCE, ignore_errors=True)
    shutil.copytree(Path(package["manifest_path"]).parent, ACTIX_SOURCE)

    tests = ACTIX_SOURCE / "src" / "storage" / "redis_rs.rs"
    fixed = 'RedisSessionStore::new("redis://127.0.0.1:6379")'
    text = tests.read_text()
    if text.count(fixed) != 1:
        raise Failure(f"actix-session {package['version']}: its tests no longer open {fixed} once")
    given = 'RedisSessionStore::new(std::env::var("ACTIX_SESSION_TEST_URL").unwrap())'
    tests.write_text(text.replace(fixed, given))


def actix_test_command():
    """The command that builds and runs actix-session's tests for redis-rs."""
    manifest = str(ACTIX_SOURCE / "Cargo.toml")
    return ["cargo", "test", "--locked", "--lib", "--features", "redis-session", "--manifest-path", manifest]


def cargo_environment():
    """One target directory for all Rust parts, apart from Cloakroom's own, kept small."""
    return os.environ | {
        "CARGO_TARGET_DIR": str(CARGO_TARGET),
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_DEV_DEBUG": "0",
        "CARGO_TERM_COLOR": "never",
    }


INSTALLERS = {
    "actix-source": actix_source,
    "node": node,
    "php": php,
    "python": python,
    "rust": rust,
}


class Stamp:
    """Whether `directory` was filled from `lock_file` as it is now; notes it when the work succeeds."""

    def __init__(self, directory, lock_file):
        self._path = directory / "installed"
        self._hash = hashlib.sha256(lock_file.read_bytes()).hexdigest()
        self.fresh = self._path.exists() and self._path.read_text() == self._hash

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and not self.fresh:
            self._path.write_text(self._hash)

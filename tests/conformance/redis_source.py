"""Fetches Redis's own Tcl tests and makes them runnable.

Owns everything between "nothing" and an unpacked suite under target/conformance. A suite comes from Debian's
source package, through a private apt directory: the machine's own lists, cache and sources stay untouched, and the
mirror and keys are the machine's own, so no host is named here. Must not run tests.
"""

import os
import pwd
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "conformance"
UPSTREAM = "7.0.15"
EPOCH = "5:"
# Programs that the suite looks for in its own src, where nobody compiles them: the machine's are used.
PROGRAMS = ("redis-cli", "redis-benchmark")

# The suite empties the function library at the start of each block, outside of any test, so a server that has no
# functions would lose every test. An error there says nothing about the tests, so it is swallowed, for any server.
ADAPTED_FILE = "tests/support/server.tcl"
ADAPTED_FROM = "\n    r function flush\n"
ADAPTED_TO = "\n    catch {r function flush}\n"


@dataclass(frozen=True)
class Release:
    """A suite of one version of Redis, and the release of Debian that has its source; None is the machine's own."""

    upstream: str
    codename: str | None = None
    # Files whose tests Redis keeps from servers that are not its own, though they ask for nothing that only those have.
    unskipped: tuple[str, ...] = ()


RELEASES = {
    "7": Release(UPSTREAM),
    # Field deadlines are younger than 7.0.
    "8": Release("8.0.2", "trixie", ("tests/unit/type/hash-field-expire.tcl",)),
}


class SuiteError(Exception):
    """The suite cannot be had; the message says what to do."""


def suite(release: Release) -> Path:
    """The directory of the unpacked suite; fetched and unpacked when it is not there yet."""
    need_tcl()
    directory = WORK / f"redis-{release.upstream}"
    if not (directory / "runtest").exists():
        unpack(fetch(release), directory, release)
    return directory


def need_tcl() -> None:
    if any(shutil.which(f"tclsh{version}") for version in ("8.5", "8.6", "8.7")):
        return
    if os.geteuid() != 0:
        raise SuiteError("tclsh is missing: install the package 'tcl'")
    subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "tcl"], check=True)


def fetch(release: Release) -> Path:
    """Downloads the source package (apt checks its signature) and returns the upstream archive."""
    downloads = WORK / "source"
    downloads.mkdir(parents=True, exist_ok=True)
    archive = downloads / f"redis_{release.upstream}.orig.tar.gz"
    if archive.exists():
        return archive
    options = private_apt(release.codename)
    subprocess.run(["apt-get", *options, "-qq", "update"], check=True)
    shown = subprocess.run(["apt-cache", *options, "showsrc", "redis"], check=True, capture_output=True, text=True)
    version = next(
        (line.split()[1] for line in shown.stdout.splitlines() if line.startswith(f"Version: {EPOCH}{release.upstream}-")),
        None,
    )
    if version is None:
        raise SuiteError(f"the machine's apt sources have no source package redis {EPOCH}{release.upstream}")
    # Debian's own part is of no use here, and a mirror may have lost that of an older revision.
    subprocess.run(
        ["apt-get", *options, "-qq", "source", "--download-only", "--tar-only", "--only-source", f"redis={version}"],
        check=True,
        cwd=downloads,
    )
    if not archive.exists():
        raise SuiteError(f"apt-get source left no {archive.name}")
    return archive


def private_apt(wanted: str | None) -> list[str]:
    """Makes an apt directory of our own and returns the options that make apt use it, for a release of Debian."""
    apt = WORK / (f"apt-{wanted}" if wanted else "apt")
    for part in ("sources.d", "state", "lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    stanzas = source_stanzas(wanted)
    if not stanzas:
        raise SuiteError("the machine has no apt source of its own release to take source packages from")
    (apt / "sources.d" / "machine.sources").write_text("\n\n".join(stanzas) + "\n")
    settings = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": apt / "sources.d",
        "Dir::State": apt / "state",
        "Dir::State::Lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": pwd.getpwuid(os.geteuid()).pw_name,
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def source_stanzas(wanted: str | None) -> list[str]:
    """The machine's apt sources of its own release, asking for sources where they asked for binaries.

    If another release is `wanted`, they ask for it instead.
    """
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    codename = release.group(1) if release else "stable"
    stanzas = []
    for path in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for text in re.split(r"\n\s*\n", path.read_text()):
            lines = [line for line in text.splitlines() if line and not line.startswith("#")]
            if any(re.match(rf"Suites:.*\b(?<![\w-]){codename}\b", line) for line in lines):
                stanzas.append("\n".join(re.sub(r"^Types:.*", "Types: deb-src", line) for line in lines))
    one_line_files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]
    for path in one_line_files:
        for line in path.read_text().splitlines() if path.exists() else []:
            parts = re.match(r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.+)", line)
            if parts and parts.group(3).startswith(codename):
                stanzas.append(one_line_stanza(*parts.groups()))
    if wanted:
        stanzas = [
            re.sub("^Suites:.*", lambda line: line.group().replace(codename, wanted), text, flags=re.MULTILINE)
            for text in stanzas
        ]
    return stanzas


def one_line_stanza(options: str | None, address: str, suite_name: str, components: str) -> str:
    """Writes one `deb` line in the form of a .sources stanza."""
    lines = ["Types: deb-src", f"URIs: {address}", f"Suites: {suite_name}", f"Components: {components}"]
    signed = re.search(r"signed-by=(\S+)", options or "")
    if signed:
        lines.append(f"Signed-By: {signed.group(1)}")
    return "\n".join(lines)


def unpack(archive: Path, directory: Path, release: Release) -> None:
    """Unpacks into a neighbour and renames it last, so that a broken run leaves nothing that looks complete."""
    partial = WORK / "unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(partial, filter="data") if hasattr(tarfile, "data_filter") else packed.extractall(partial)
    adapted = partial / directory.name / ADAPTED_FILE
    text = adapted.read_text()
    if text.count(ADAPTED_FROM) != 1:
        raise SuiteError(f"{ADAPTED_FILE} is not the file this runner was written for")
    adapted.write_text(text.replace(ADAPTED_FROM, ADAPTED_TO))
    for name in release.unskipped:
        file = partial / directory.name / name
        text = file.read_text()
        if "external:skip" not in text:
            raise SuiteError(f"{name} is not the file this runner was written for")
        file.write_text(text.replace("external:skip", ""))
    shutil.rmtree(directory, ignore_errors=True)
    (partial / directory.name).rename(directory)
    shutil.rmtree(partial)

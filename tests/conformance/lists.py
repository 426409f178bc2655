"""The committed lists: which units there are, what Redis passes, what Cloakroom is known not to pass.

Owns the three text formats. Holds no opinion about a run: `compare` does.

units.txt          one line per unit: `NAME MODE TAGS`, mode `external`, `ordered`, `local`, `local-ordered` or `local8`, tags as runtest's
                   --tags takes them
baseline/NAME.txt  one line per test that Redis reported, `ok NAME` or `err NAME`, sorted
expected.txt       `unit NAME` lines, each followed by that unit's tests, `KIND | REASON | TEST`; kind `fails` (it runs,
                   and must not pass) or `skipped` (it would spoil the tests after it, so it does not run)
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAILS, SKIPPED = "fails", "skipped"
LOCAL = "local/"
INTEGRATION = "integration/"


@dataclass(frozen=True)
class Unit:
    """One file of the suite and how it is run.

    `local/NAME` is the same file as NAME, run for what NAME leaves out because its mode is external.
    """

    name: str
    mode: str
    tags: str

    @property
    def file(self) -> str:
        name = self.name.removeprefix(LOCAL)
        return name if name.startswith(INTEGRATION) else f"unit/{name}"

    @property
    def redis(self) -> str:
        """Whose suite it is of: a key of `RELEASES`."""
        return "8" if self.mode == "local8" else "7"

    @property
    def one_loop(self) -> bool:
        """Whether its tests expect that requests of several connections are served in the order in which they were sent."""
        return self.mode in ("ordered", "local-ordered")

    @property
    def starts_servers(self) -> bool:
        return self.mode.startswith("local")

    def counted_elsewhere(self) -> list[str]:
        """The tests that the external run of the same file has."""
        if not self.name.startswith(LOCAL):
            return []
        passed, failed = baseline(self.name.removeprefix(LOCAL))
        return sorted({*passed, *failed})


@dataclass(frozen=True)
class Known:
    """A test that Cloakroom is known not to pass."""

    kind: str
    reason: str


def units() -> dict[str, Unit]:
    found = {}
    for line in content_lines(HERE / "units.txt"):
        name, mode, tags = line.split(maxsplit=2)
        found[name] = Unit(name, mode, tags.strip('"'))
    return found


def baseline_path(unit: str) -> Path:
    return HERE / "baseline" / f"{unit}.txt"


def baseline(unit: str) -> tuple[Counter, Counter]:
    """How often each test passed and failed on Redis; a name can stand for several tests of one unit."""
    passed, failed = Counter(), Counter()
    for line in baseline_path(unit).read_text().splitlines():
        status, name = line.split(" ", 1)
        (passed if status == "ok" else failed)[name] += 1
    return passed, failed


def write_baseline(unit: str, passed: Counter, failed: Counter) -> None:
    lines = [f"ok {name}" for name in passed.elements()] + [f"err {name}" for name in failed.elements()]
    path = baseline_path(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in sorted(lines, key=lambda line: line.split(" ", 1)[::-1])))


def expected() -> dict[str, dict[str, Known]]:
    """For each unit, the tests that are known not to pass."""
    found: dict[str, dict[str, Known]] = {}
    unit = None
    for line in content_lines(HERE / "expected.txt"):
        if line.startswith("unit "):
            unit = found.setdefault(line.removeprefix("unit ").strip(), {})
            continue
        kind, reason, test = (part.strip() for part in line.split("|", 2))
        if unit is None or kind not in (FAILS, SKIPPED) or not reason:
            raise ValueError(f"expected.txt: not understood: {line}")
        if test in unit:
            raise ValueError(f"expected.txt: twice in one unit: {test}")
        unit[test] = Known(kind, reason)
    return found


def content_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]

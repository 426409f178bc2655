"""Writes the per-unit part of docs/compatibility.md from the committed lists, without running anything.

Owns only what stands between the two markers; the rest of the page is written by hand.
"""

from collections import Counter

from lists import SKIPPED, Known, baseline, expected, units
from redis_source import ROOT, UPSTREAM
from unit_run import OUTSIDE

PAGE = ROOT / "docs" / "compatibility.md"
BEGIN = "<!-- written by tests/conformance/run --report: begin -->"
END = "<!-- written by tests/conformance/run --report: end -->"


def page_with_report() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{report()}{END}{after}"


def report() -> str:
    known = expected()
    rows, details, totals = [], [], Counter()
    for name, unit in units().items():
        passed, failed = baseline(name)
        listed = known.get(name, {})
        open_tests = sum(passed[test] for test in listed)
        expected_passes = passed.total() - open_tests
        totals.update(redis=passed.total(), cloakroom=expected_passes, open=open_tests)
        rows.append(f"| {name} | {unit.mode} | {passed.total()} | {expected_passes} | {reason_counts(passed, listed)} |")
        details += unit_details(name, passed, failed, listed)
    head = ["", f"| Unit | Mode | Redis {UPSTREAM} | Cloakroom must pass | The rest, by reason |", "| --- | --- | ---: | ---: | --- |"]
    total = f"| all | | {totals['redis']} | {totals['cloakroom']} | {totals['open']} tests |"
    return "\n".join([*head, *rows, total, "", "### The tests that do not pass", "", *details, ""])


def reason_counts(passed: Counter, listed: dict[str, Known]) -> str:
    counts = Counter()
    for test, known in listed.items():
        counts[known.reason] += passed[test]
    return ", ".join(f"{reason} {count}" for reason, count in counts.most_common() if count)


def unit_details(name: str, passed: Counter, failed: Counter, listed: dict[str, Known]) -> list[str]:
    """One paragraph per unit: each listed test under its reason, and what Redis itself does not pass."""
    by_reason: dict[str, list[str]] = {}
    for test, known in listed.items():
        text = "an error between two tests" if test == OUTSIDE else quoted(test)
        text += f" (x{passed[test]})" if passed[test] > 1 else ""
        text += " (not run)" if known.kind == SKIPPED else ""
        by_reason.setdefault(known.reason, []).append(text)
    lines = [f"- {reason}: {'; '.join(tests)}" for reason, tests in sorted(by_reason.items())]
    if failed:
        lines.append(f"- Redis {UPSTREAM} does not pass them in this mode: {'; '.join(quoted(test) for test in sorted(failed))}")
    return [f"**{name}**", "", *lines, ""] if lines else []


def quoted(test: str) -> str:
    """A test's name as code, with a fence longer than any run of backticks in it."""
    return f"`` {test} ``" if "`" in test else f"`{test}`"

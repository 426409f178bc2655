"""Judges one unit's outcome against what Redis passed and what is known not to pass.

The rule: each test that Redis passes must pass, or be listed with a reason; and what is listed must not pass, so that
the list shrinks by itself. A missing test counts like a failed one, since an error outside a test ends its block silently.
"""

from collections import Counter
from dataclasses import dataclass, field

from lists import FAILS, SKIPPED, Known
from unit_run import OUTSIDE, Outcome


@dataclass
class Verdict:
    """Of the tests that Redis passes: how many passed, how many are listed, and a line for each that is wrong."""

    passed: int = 0
    listed: int = 0
    wrong: list[str] = field(default_factory=list)


def judge(outcome: Outcome, redis_passed: Counter, known: dict[str, Known]) -> Verdict:
    verdict = Verdict()
    for name, needed in sorted(redis_passed.items()):
        got = outcome.passed[name]
        if name not in known:
            verdict.passed += min(got, needed)
            verdict.wrong += [wrong_line(name, outcome)] * max(needed - got, 0)
        elif known[name].kind == SKIPPED or got < needed:
            verdict.listed += needed
        else:
            verdict.wrong.append(f"stale: passes, but is listed with '{known[name].reason}': {name}")
    for name in sorted(set(known) - set(redis_passed) - {OUTSIDE}):
        verdict.wrong.append(f"stale: listed, but Redis does not pass it: {name}")
    if OUTSIDE not in known:
        verdict.wrong += [f"{OUTSIDE} {error}" for error in outcome.outside]
    elif not outcome.outside and known[OUTSIDE].kind == FAILS:
        verdict.wrong.append(f"stale: listed, but nothing failed outside the tests: {OUTSIDE}")
    return verdict


def wrong_line(name: str, outcome: Outcome) -> str:
    """Why a test does not count as passed, in one line; the log has the rest.

    For an error that is no assertion the suite cuts off its beginning, and repeats it whole in the line below.
    """
    if not outcome.failed[name]:
        return f"{name}: did not run"
    first, _, trace = outcome.messages[name].partition("\n")
    whole = trace.partition("\n")[0]
    return f"{name}: {whole if first and whole.endswith(first) else first}"

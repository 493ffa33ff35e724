"""A verdict on a claim is computed by a cell, printed by it, and read back by programs.

The conditions are computed booleans, each under a name, and the verdict follows from them alone:

    all true   -> holds
    some true  -> holds when: <the true ones>; not when: <the false ones>
    none true  -> does not hold
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from regularize.statistics import Interval

ID = re.compile(r"[A-Z][0-9]{1,2}")


@dataclass(frozen=True)
class Claim:
    """One claim of the ledger with its verdict. ``print(claim)`` is the record that programs read."""

    id: str
    statement: str
    verdict: str
    evidence: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"claim {self.id}: {self.statement}", f"  verdict: {self.verdict}"]
        return "\n".join(lines + [f"  - {name}: {value}" for name, value in self.evidence.items()])


def judge(
    id: str,
    statement: str,
    conditions: Mapping[str, bool],
    evidence: Mapping[str, Interval | str] | None = None,
) -> Claim:
    """Compute the verdict on claim ``id`` ("C1") from named conditions.

    Raises
    ------
    ValueError : an id that is none, no condition, or text that would break the record (line breaks).
    TypeError : a condition that is not a boolean.
    """
    if not (isinstance(id, str) and ID.fullmatch(id)):
        raise ValueError(f"id: expected a ledger id such as 'C1', got {id!r}")
    if not conditions:
        raise ValueError("conditions: expected at least one named condition, got none")
    for name, value in conditions.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"conditions[{name!r}]: expected True or False, got {value!r}")
    shown = {name: str(value) for name, value in (evidence or {}).items()}
    for text in (statement, *conditions, *shown, *shown.values()):
        if text.splitlines() not in ([], [text]):
            raise ValueError(f"a record's entry: expected text without line breaks, got {text!r}")
    for name in shown:
        if ": " in name:
            raise ValueError(f"evidence: expected names without ': ', which ends a name, got {name!r}")
    true = [name for name, value in conditions.items() if value]
    false = [name for name, value in conditions.items() if not value]
    if true and false:
        verdict = f"holds when: {', '.join(true)}; not when: {', '.join(false)}"
    else:
        verdict = "holds" if true else "does not hold"
    return Claim(id, statement, verdict, shown)


def read(text: str) -> list[Claim]:
    """The claims recorded in a cell's printed output."""
    claims = []
    for block in re.split(r"(?m)^(?=claim [A-Z][0-9])", text)[1:]:
        first, verdict, *rest = [*block.split("\n"), ""]
        found = re.fullmatch(rf"claim ({ID.pattern}): (.*)", first)
        if not found or not verdict.startswith("  verdict: "):
            raise ValueError(f"not a claim's record: {block!r}")
        evidence = {}
        for line in takewhile(lambda line: line.startswith("  - "), rest):
            name, _, value = line.removeprefix("  - ").partition(": ")
            evidence[name] = value
        claims.append(Claim(found[1], found[2], verdict.removeprefix("  verdict: "), evidence))
    return claims

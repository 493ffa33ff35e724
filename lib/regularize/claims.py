"""A verdict on a claim is computed by a cell, printed by it, and read back by programs.

The conditions are computed booleans, each under a name, and the verdict follows from them alone:

    all true   -> holds
    some true  -> holds in part
    none true  -> does not hold
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from regularize.statistics import Interval

ID = re.compile(r"[A-Z][0-9]{1,2}")
KEYS = ("verdict", "holds when", "not when", "measured")  # what the lines of a record begin with
WIDTH = 76  # characters a line: what a page shows without scrolling


@dataclass(frozen=True)
class Claim:
    """One claim of the ledger with its verdict. ``print(claim)`` is the record that programs read."""

    id: str
    statement: str
    holds_when: tuple[str, ...]
    not_when: tuple[str, ...]
    evidence: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.holds_when and self.not_when:
            return "holds in part"
        return "holds" if self.holds_when else "does not hold"

    def __str__(self) -> str:
        entries = [
            f"claim {self.id}: {self.statement}",
            f"  verdict: {self.verdict}",
            *(f"  holds when: {name}" for name in self.holds_when),
            *(f"  not when: {name}" for name in self.not_when),
            *(f"  measured: {name}: {value}" for name, value in self.evidence.items()),
        ]
        return "\n".join(map(_wrap, entries))


def _wrap(entry: str) -> str:
    return textwrap.fill(
        entry, WIDTH, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
    )


def judge(
    id: str,
    statement: str,
    conditions: Mapping[str, bool],
    evidence: Mapping[str, Interval | str] | None = None,
) -> Claim:
    """Compute the verdict on claim ``id`` ("C1") from named conditions.

    ``evidence`` maps names to intervals, or to text where the figures need other decimals or a unit.
    White space in texts, line breaks included, becomes single blanks.

    Raises
    ------
    ValueError : an id that is none, no condition, an empty text, a name of evidence with ": " in it.
    TypeError : a condition that is not a boolean.
    """
    if not (isinstance(id, str) and ID.fullmatch(id)):
        raise ValueError(f"id: expected a ledger id such as 'C1', got {id!r}")
    if not conditions:
        raise ValueError("conditions: expected at least one named condition, got none")
    for name, value in conditions.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"conditions[{name!r}]: expected True or False, got {value!r}")
    measured = {_text("evidence", n): _text(f"evidence[{n!r}]", str(v)) for n, v in (evidence or {}).items()}
    for name in measured:
        if ": " in name or name.endswith(":"):
            raise ValueError(f"evidence: expected names without ': ', which ends a name, got {name!r}")
    named = [(_text("conditions", name), bool(value)) for name, value in conditions.items()]
    return Claim(
        id,
        _text("statement", statement),
        tuple(name for name, value in named if value),
        tuple(name for name, value in named if not value),
        measured,
    )


def _text(name: str, value: str) -> str:
    value = " ".join(value.split())
    if not value:
        raise ValueError(f"{name}: expected some text, got none")
    return value


def read(text: str) -> list[Claim]:
    """The claims recorded in a cell's printed output.

    Raises
    ------
    ValueError : a record that was cut short or changed.
    """
    claims = []
    for block in re.split(r"(?m)^(?=claim [A-Z][0-9])", text)[1:]:
        record = re.findall(r"\A.*(?:\n  .*)*", block)[0]
        first, *entries = re.sub(r"\n {6}", " ", record).split("\n")
        found = re.fullmatch(rf"claim ({ID.pattern}): (.+)", first)
        fields = [entry.strip().partition(": ") for entry in entries]
        of = {key: [value for k, _, value in fields if k == key] for key in KEYS}
        pairs = [value.partition(": ") for value in of["measured"]]
        if not found or any(k not in KEYS or not value for k, _, value in fields):
            raise ValueError(f"not a claim's record: {record!r}")
        evidence = {name: value for name, _, value in pairs}
        claim = Claim(found[1], found[2], tuple(of["holds when"]), tuple(of["not when"]), evidence)
        if of["verdict"] != [claim.verdict] or not (claim.holds_when or claim.not_when):
            raise ValueError(f"not a claim's record: {record!r}")
        claims.append(claim)
    return claims

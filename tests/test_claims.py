"""A verdict follows from named conditions alone, and a program reads back what the cell printed."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused

from regularize.claims import judge, read
from regularize.statistics import Interval

ids = st.from_regex(r"[A-Z][0-9]{1,2}", fullmatch=True)
# Whatever splitlines takes for a line break is one: a notebook's output passes through such programs.
one_line = st.text(max_size=20).filter(lambda s: s.splitlines() in ([], [s]))
conditions = st.dictionaries(one_line, st.booleans(), min_size=1, max_size=4)
evidence = st.dictionaries(one_line.filter(lambda s: ": " not in s), one_line, max_size=3)


@given(id=ids, statement=one_line, conditions=conditions, evidence=evidence)
@settings(max_examples=80)
def test_what_is_printed_is_read_back(id, statement, conditions, evidence):
    claim = judge(id, statement, conditions, evidence)
    assert read(str(claim)) == [claim]
    assert read(f"before\n{claim}\n{claim}\nand after\n") == [claim, claim]


def test_records_are_found_among_other_output():
    first = judge("C1", "more data, smaller gap", {"digits": True}, {"gap": Interval(0.1, 0.01, 32)})
    second = judge("M14", "dropout helps", {"clean": False})
    text = f"training ...\n{first}\n  - no evidence: of the claim, since a line came before?\n{second}\n0.5\n"
    found = read(text.replace("  - no evidence: of the claim, since a line came before?\n", "epoch 1\n"))
    assert found == [first, second]
    assert read("no record here, though claims C1 and C2 are mentioned\n") == []


def test_a_list_below_a_record_is_not_its_evidence():
    claim = judge("C1", "a", {"b": True}, {"c": "d"})
    assert read(f"{claim}\nresults\n  - one: two\n") == [claim]


def test_the_verdict_follows_from_the_conditions():
    def verdict(**conditions):
        return judge("C1", "s", conditions).verdict

    assert verdict(a=True, b=True) == "holds"
    assert verdict(a=False, b=False) == "does not hold"
    assert verdict(a=True, b=False, c=True, d=False) == "holds when: a, c; not when: b, d"


def test_the_record_shows_id_statement_verdict_and_evidence():
    claim = judge(
        "C3", "L2 helps", {"noisy": True}, {"loss": Interval(-0.145, 0.025, 32), "net": "64-128-10"}
    )
    assert str(claim).splitlines() == [
        "claim C3: L2 helps",
        "  verdict: holds",
        "  - loss: -0.145 ± 0.025 (32 seeds)",
        "  - net: 64-128-10",
    ]


def test_a_comparison_of_numpy_numbers_is_a_condition():
    assert judge("C1", "s", {"a": np.float64(1) > 0, "b": np.float64(1) < 0}).verdict.startswith(
        "holds when: a"
    )


@pytest.mark.parametrize("id", ["", "c1", "C", "C123", "1C", "C1 ", "C-1", "CC1", "C\u0661", 5, None])
def test_bad_ids_are_refused(id):
    with refused("id"):
        judge(id, "s", {"a": True})


@pytest.mark.parametrize("value", [1, 0, None, "yes", 0.5, np.array([True])])
def test_a_condition_is_true_or_false(value):
    with refused("conditions['a']", TypeError):
        judge("C1", "s", {"a": value})


def test_a_verdict_needs_a_condition():
    with refused("conditions", ValueError):
        judge("C1", "s", {})


@given(text=st.text(max_size=10), end=st.sampled_from("\n\r\v\f\x1c\x85\u2028"))
@settings(max_examples=40)
def test_texts_have_one_line(text, end):
    broken = text + end + "x"
    for call in (
        lambda: judge("C1", broken, {"a": True}),
        lambda: judge("C1", "s", {broken: True}),
        lambda: judge("C1", "s", {"a": True}, {broken: "v"}),
        lambda: judge("C1", "s", {"a": True}, {"n": broken}),
    ):
        with pytest.raises(ValueError, match=r"expected .* got"):
            call()


@given(left=one_line, right=one_line)
@settings(max_examples=20)
def test_a_name_of_evidence_cannot_hold_the_separator(left, right):
    with refused("evidence", ValueError):
        judge("C1", "s", {"a": True}, {f"{left}: {right}": "v"})


@pytest.mark.parametrize(
    "text",
    ["claim C1: s\n", "claim C1: s\nverdict: holds\n", "claim C1 s\n  verdict: holds\n", "claim C123: s"],
)
def test_a_damaged_record_is_refused(text):
    with pytest.raises(ValueError, match="not a claim's record"):
        read(text)


lines = ["claim C1: s", "claim C2: t", "  verdict: holds", "  - a: b", "  - c", "prose", ""]


@given(text=st.lists(st.sampled_from(lines), max_size=8).map("\n".join))
@settings(max_examples=100)
def test_reading_finds_every_record_or_says_which_is_damaged(text):
    begun = text.count("claim C")
    if begun == len(re.findall(r"(?m)^claim .*\n  verdict", text)):
        found = read(text)
        assert len(found) == begun
        assert read("\n".join(map(str, found))) == found
    else:
        with pytest.raises(ValueError, match="not a claim's record"):
            read(text)

"""A verdict follows from named conditions alone, and a program reads back what the cell printed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused

from regularize.claims import judge, read
from regularize.statistics import Interval

ids = st.from_regex(r"[A-Z][0-9]{1,2}", fullmatch=True)
texts = st.text(max_size=100).filter(lambda s: s.split())
names = texts.filter(lambda s: ":" not in s)
conditions = st.dictionaries(texts, st.booleans(), min_size=1, max_size=4)
evidence = st.dictionaries(names, texts, max_size=3)


@given(id=ids, statement=texts, conditions=conditions, evidence=evidence)
@settings(max_examples=100)
def test_what_is_printed_is_read_back(id, statement, conditions, evidence):
    claim = judge(id, statement, conditions, evidence)
    assert read(str(claim)) == [claim]
    assert read(f"before\n{claim}\n{claim}\nand after\n") == [claim, claim]


def test_records_are_found_among_other_output():
    first = judge("C1", "more data, smaller gap", {"digits": True}, {"gap": Interval(0.1, 0.01, 32)})
    second = judge("M14", "dropout helps", {"clean": False})
    assert read(f"training ...\n{first}\nepoch 1\n{second}\n0.5\n") == [first, second]
    assert read("no record here, though claims C1 and C2 are mentioned\n") == []


def test_a_list_below_a_record_is_not_its_evidence():
    claim = judge("C1", "a", {"b": True}, {"c": "d"})
    assert read(f"{claim}\nresults\n  measured: one: two\n") == [claim]


def test_the_verdict_follows_from_the_conditions():
    def verdict(**conditions):
        return judge("C1", "s", conditions).verdict

    assert verdict(a=True, b=True) == "holds"
    assert verdict(a=False, b=False) == "does not hold"
    assert verdict(a=True, b=False, c=True, d=False) == "holds in part"


def test_the_record_shows_id_statement_verdict_conditions_and_evidence():
    claim = judge(
        "C3",
        "L2 helps,\nand a statement that is longer than a line of a page goes on in the next one",
        {"noisy": True, "clean": False},
        {"loss": Interval(-0.145, 0.025, 32), "net": "64-128-10"},
    )
    assert str(claim).splitlines() == [
        "claim C3: L2 helps, and a statement that is longer than a line of a page",
        "      goes on in the next one",
        "  verdict: holds in part",
        "  holds when: noisy",
        "  not when: clean",
        "  measured: loss: -0.145 ± 0.025 (32 seeds)",
        "  measured: net: 64-128-10",
    ]


def test_a_comparison_of_numpy_numbers_is_a_condition():
    claim = judge("C1", "s", {"a": np.float64(1) > 0, "b": np.float64(1) < 0})
    assert (claim.holds_when, claim.not_when) == (("a",), ("b",))


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


@pytest.mark.parametrize("empty", ["", " ", "\n\t"])
def test_no_text_may_be_empty(empty):
    for name, call in {
        "statement": lambda: judge("C1", empty, {"a": True}),
        "conditions": lambda: judge("C1", "s", {empty: True}),
        "evidence": lambda: judge("C1", "s", {"a": True}, {empty: "v"}),
        "evidence['n']": lambda: judge("C1", "s", {"a": True}, {"n": empty}),
    }.items():
        with refused(name, ValueError):
            call()


@given(left=names, right=names)
@settings(max_examples=20)
def test_a_name_of_evidence_cannot_hold_the_separator(left, right):
    with refused("evidence", ValueError):
        judge("C1", "s", {"a": True}, {f"{left}: {right}": "v"})


RECORD = "claim C1: s\n  verdict: holds in part\n  holds when: a\n  not when: b\n  measured: c: d"


def test_a_whole_record_is_read():
    assert read(RECORD) == [judge("C1", "s", {"a": True, "b": False}, {"c": "d"})]


@pytest.mark.parametrize(
    "text",
    [
        RECORD.replace("holds in part", "holds"),
        RECORD.replace("  not when: b\n", ""),
        RECORD.replace("  verdict: holds in part\n", ""),
        RECORD.replace("not when: b", "not when:"),
        RECORD.replace("measured", "noticed"),
        RECORD.replace("claim C1: s", "claim C1 s"),
        RECORD.replace("C1", "C123"),
        "claim C1: s\n",
    ],
)
def test_a_damaged_record_is_refused(text):
    with pytest.raises(ValueError, match="not a claim's record"):
        read(text)

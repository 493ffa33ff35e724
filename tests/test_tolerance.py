"""The tolerance plugin lets pass what it should, and nothing else, alone and inside pytest."""

import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from decimal import Decimal

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output

from bookbuild.tolerance import Approximate, close

SAME = [
    ("loss 0.1234", "loss 0.1235"),
    ("loss -0.00", "loss 0.00"),
    ("loss −0.52 ± 0.03", "loss −0.51 ± 0.02"),
    ("loss −0.52", "loss -0.52 "[:-1].replace("-", "−")),
    ("  9.99  1.0", " 10.00  1.0"),
    ("[-0.1  1. ]", "[ 0.0  1. ]"),
    ("0.5", "0.4999"),
    ("1.50e-03", "1.51e-03"),
    ("|w| = 3, gap 1e-16", "|w| = 3, gap 2e-16"),
]
DIFFERENT = [
    ("loss 0.1234", "loss 0.1236"),
    ("loss 0.1234", "loss -0.1234"),
    ("loss −0.52", "loss 0.52"),
    ("gain 0.5", "loss 0.5"),
    ("3 zeros", "4 zeros"),
    ("[1. 2.]", "[1. 3.]"),
    ("1.50e-03", "1.50e-04"),
    ("0.5", "0.5 0.5"),
    ("a\nb", "a b"),
    ("nan", "0.5"),
    ("0.5", ""),
    ("0.1", "0.19999999"),
]


@pytest.mark.parametrize(("stored", "new"), SAME)
def test_equal_within_the_last_printed_place(stored, new):
    assert close(stored, new)
    assert close(new, stored)


@pytest.mark.parametrize(("stored", "new"), DIFFERENT)
def test_different(stored, new):
    assert not close(stored, new)
    assert not close(new, stored)


def test_relative_tolerance_is_for_decimals_only():
    assert close("loss 0.5000", "loss 0.5049", rtol=1e-2)
    assert not close("loss 0.5000", "loss 0.5051", rtol=1e-2)
    assert not close("1000 steps", "1001 steps", rtol=1e-2)


def test_a_cell_may_ask_for_an_absolute_tolerance():
    assert close("-0.0 ± 0.7", "+0.2 ± 0.7", atol=0.25)
    assert not close("-0.1 ± 0.7", "+0.2 ± 0.7", atol=0.25)
    assert not close("3 seeds", "4 seeds", atol=0.9)
    assert close("+65 ± 4", "+66 ± 2", atol=2.0)
    assert not close("+65 ± 4", "+66 ± 1", atol=2.0)


def test_approximate_text_is_unequal_when_it_is_not_equal():
    assert Approximate("0.10") == "0.11"
    assert not Approximate("0.10") != "0.11"
    assert Approximate("0.10") != "0.12"


@given(st.integers(-(10**9), 10**9), st.integers(1, 6), st.integers(0, 3), st.sampled_from("-−"))
def test_exactly_one_unit_is_allowed(digits, places, units, minus):
    """value, and value + units in the last place, are close if and only if units <= 1."""
    stored, new = (
        f"{Decimal(d).scaleb(-places):.{places}f}".replace("-", minus) for d in (digits, digits + units)
    )
    assert close(f"a {stored} b", f"a {new} b") == (units <= 1)


@given(st.text(), st.text())
def test_any_texts_can_be_compared(a, b):
    assert close(a, a)
    assert close(a, b) == close(b, a)


def printed(text):
    return [new_output("stream", name="stdout", text=text + "\n")]


def shown(**data):
    return [new_output("display_data", data={key.replace("_", "/"): value for key, value in data.items()})]


ERROR = [new_output("error", ename="ZeroDivisionError", evalue="division by zero")]
SHOW_FIGURE = "display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(80)))"
FIGURE = shown(image_png="iVBORw0KGgo" + "B" * 93, text_plain="<IPython.core.display.Image object>")
TABLE = shown(text_html="<td>0.35</td>", text_plain="<IPython.core.display.HTML object>")

# name: (code, stored output or None where never executed, tags, what the report says or None if it passes)
CASES = {
    "unchanged": (
        "from IPython.display import HTML, Image\nprint('a 0.1234')",
        printed("a 0.1234"),
        [],
        None,
    ),
    "last digit": ("print('loss 0.1235')", printed("loss 0.1234"), [], None),
    "within rtol": ("print('loss 0.126')", printed("loss 0.125"), ["rtol=1e-2"], None),
    "other bytes in a figure": (SHOW_FIGURE, FIGURE, [], None),
    "raises as it should": ("1 / 0", ERROR, ["raises-exception"], None),
    "result hidden by a semicolon": ("5;", [], [], None),
    "changed number": ("print('loss 0.1236')", printed("loss 0.1234"), [], "Cell outputs differ"),
    "changed integer": ("print('3 zeros')", printed("4 zeros"), [], "Cell outputs differ"),
    "within atol": ("print('loss 0.175')", printed("loss 0.125"), ["atol=0.05"], None),
    "beyond atol": ("print('loss 0.176')", printed("loss 0.125"), ["atol=0.05"], "Cell outputs differ"),
    "beyond rtol": ("print('loss 0.130')", printed("loss 0.125"), ["rtol=1e-2"], "Cell outputs differ"),
    "changed word": ("print('gain 0.1234')", printed("loss 0.1234"), [], "Cell outputs differ"),
    "changed result": ("0.5", shown(text_plain="0.7"), [], "Cell outputs differ"),
    "changed table": ("HTML('<td>0.25</td>')", TABLE, [], "Cell outputs differ"),
    "raised error": ("1 / 0", [], [], "ZeroDivisionError"),
    "other error": ("[][0]", ERROR, ["raises-exception"], "Cell outputs differ"),
    "raised nothing": ("x = 1", [], ["raises-exception"], "nothing was raised"),
    "never executed": ("print(1)", None, [], "never executed"),
    "output missing in the notebook": ("print('loss 0.1234')", [], [], "Unexpected output fields"),
    "output missing in the run": ("x = 1", printed("loss 0.1234"), [], "Missing output fields"),
    "figure missing in the notebook": (SHOW_FIGURE, [], [], "Unexpected output fields"),
    "figure missing in the run": ("'a'", FIGURE, [], "Missing output fields"),
    "killed kernel": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", [], [], "the kernel died"),
    "after the kernel has died": ("x = 1", [], [], "Kernel dead"),
}


def notebook():
    """One code cell per case: a cell that fails does not keep nbval from running the next."""
    nb = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    for n, (source, outputs, tags, _) in enumerate(CASES.values(), start=1):
        count = None if outputs is None else n
        nb.cells.append(
            new_code_cell(source, outputs=outputs or [], metadata={"tags": tags}, execution_count=count)
        )
    return nb


@pytest.fixture(scope="module")
def reports(tmp_path_factory, root):
    """Run pytest, with the repository's own settings, once over all cases: name -> failure text or None."""
    folder = tmp_path_factory.mktemp("cases")
    nbformat.write(notebook(), folder / "cases.ipynb")
    settings = ["-c", root / "pyproject.toml", "--rootdir", folder, "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *settings]
    start = time.monotonic()
    subprocess.run(
        [*map(str, command), "--junitxml=report.xml", "."], capture_output=True, timeout=120, cwd=folder
    )
    assert time.monotonic() - start < 60, "a dead kernel was waited for"
    cases = ElementTree.parse(folder / "report.xml").iter("testcase")
    failures = {case.get("name"): case.find("failure") for case in cases}
    texts = {name: None if failure is None else failure.text for name, failure in failures.items()}
    return {name: texts[f"Cell {n}"] for n, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_notebooks_through_pytest(name, reports):
    *_, expected = CASES[name]
    if expected is None:
        assert reports[name] is None
    else:
        assert reports[name] is not None, "passed"
        assert expected in reports[name]

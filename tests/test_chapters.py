"""What every chapter owes its readers, checked on the stored notebooks."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from bookbuild.execute import SECONDS
from regularize.claims import read

CHAPTERS = Path(__file__).parents[1] / "chapters"
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted(CHAPTERS.glob("*.ipynb"))}
METHODS = sorted(set(NOTEBOOKS) - {"introduction", "notation"})

RANDOMNESS = re.compile(r"\d+ (?:seeds|problems|data sets)\b|\bone (?:data set|fit)\b|\bno randomness\b")


def code(stem):
    return [cell for cell in NOTEBOOKS[stem].cells if cell.cell_type == "code"]


def printed(cell):
    return "".join(out.text for out in cell.outputs if out.output_type == "stream")


def text(stem):
    return "\n".join(cell.source for cell in NOTEBOOKS[stem].cells if cell.cell_type == "markdown")


def test_a_claim_is_recorded_by_one_cell_of_the_book():
    records = Counter(claim.id for stem in NOTEBOOKS for cell in code(stem) for claim in read(printed(cell)))
    assert records, "no claim found: has the format of a record changed?"
    assert {id for id, count in records.items() if count > 1} == set()


@pytest.mark.parametrize("stem", METHODS)
def test_a_chapter_has_its_sections(stem):
    headings = re.findall(r"(?m)^#+ (.*)$", text(stem))
    for wanted in (
        "The same in Keras",
        "To copy",
        "claims",
        "When it does not",
        "Exercises",
        "Further reading",
    ):
        assert any(wanted in heading for heading in headings), wanted


@pytest.mark.parametrize("stem", METHODS)
def test_each_exercise_with_a_check_has_an_executed_solution(stem):
    checks = Counter(
        name for cell in code(stem) for name in re.findall(r"exercises\.(check_\w+)\(", cell.source)
    )
    assert len(checks) >= 4
    assert set(checks.values()) == {2}  # the skeleton and the solution
    answered = "".join(printed(cell) for cell in code(stem) if "exercises.check" in cell.source)
    verdicts = re.findall(r"(?m)^(Not yet|Correct)\b", answered)
    assert Counter(verdicts) == {"Not yet": len(checks), "Correct": len(checks)}
    folded = [cell for cell in code(stem) if cell.source.startswith("# Solution")]
    assert len(folded) == len(checks)
    assert all("hide-cell" in cell.metadata.tags for cell in folded)


@pytest.mark.parametrize("stem", METHODS)
def test_equations_have_labels_and_figures_say_how_many_seeds(stem):
    displayed = re.findall(r"(?m)^\$\$(.*)$", text(stem))[1::2]
    assert displayed
    assert all(re.fullmatch(r" \(eq-[\w-]+\)", end) for end in displayed), displayed
    for cell in code(stem):
        caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption")
        if caption:
            assert RANDOMNESS.search(caption), caption


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_every_column_of_a_table_has_a_name_in_words(stem):
    """Screen readers say the name with each cell, and pass over formulas."""
    for header in re.findall(r"(?m)^\|(.*)\|\n\|[-|: ]+\|$", text(stem)):
        assert all(re.sub(r"\$.*?\$", "", name).strip() for name in header.split("|")), header


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_code_and_prints_fit_the_page(stem):
    for cell in code(stem):
        lines = cell.source.splitlines()
        assert [line for line in lines if len(line) > 80] == []
        assert [line for line in printed(cell).splitlines() if len(line) > 80] == []


def test_a_chapter_takes_45_seconds_at_most_and_all_of_them_on_two_cores_5_minutes():
    seconds = {stem: notebook.metadata[SECONDS] for stem, notebook in NOTEBOOKS.items()}
    assert {stem: s for stem, s in seconds.items() if s > 45} == {}
    assert sum(seconds.values()) / 2 <= 300

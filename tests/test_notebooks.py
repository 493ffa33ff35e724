"""The runner writes whole, executed, repeatable notebooks or leaves the old ones; and the book's are such."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

from bookbuild.execute import SECONDS, chapters, main, stale

ROOT = Path(__file__).resolve().parents[1]

PAGE = """\
---
kernelspec:
  name: python3
  display_name: Python 3
---

# A page

```{code-cell} python
print("one", 1.25)
import sys
sys.stdout.flush()
print("two")
```

```{code-cell} python
---
tags: [hide-input]
mystnb:
  image:
    alt: a line that rises
  figure:
    caption: A line.
---
import matplotlib.pyplot as plt
plt.plot([0, 1]);
```

```{code-cell} python
:tags: [raises-exception]
1 / 0
```
"""
LAST = '```{code-cell} python\nprint("last")\n```\n'


def run(folder, *options):
    return main(["--folder", str(folder), *options])


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A folder with two chapters that were executed, and a page without code."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "figure.md").write_text(PAGE)
    (folder / "short.md").write_text("# Short\n\n" + LAST)
    (folder / "prose.md").write_text("# Prose only\n")
    assert run(folder) == 0
    return folder


@pytest.fixture
def book(executed, tmp_path):
    """A copy of that folder, to be broken."""
    for path in executed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edit_notebook(path, change):
    nb = nbformat.read(path, as_version=4)
    change(nb)
    nbformat.write(nb, path)


# --- the runner ---------------------------------------------------------------------------------


def test_notebook_is_whole_and_says_nothing_about_the_machine(executed):
    text = (executed / "figure.ipynb").read_text()
    nb = json.loads(text)
    code = [cell for cell in nb["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3]
    assert code[0]["outputs"] == [
        {"name": "stdout", "output_type": "stream", "text": ["one 1.25\n", "two\n"]}
    ]
    assert code[1]["metadata"]["mystnb"]["image"]["alt"] == "a line that rises"
    assert code[1]["metadata"]["tags"] == ["hide-input"]
    assert "image/png" in code[1]["outputs"][0]["data"]
    assert code[2]["outputs"][0]["traceback"] == ["ZeroDivisionError: division by zero"]
    assert nb["metadata"]["language_info"] == {"name": "python"}
    assert str(executed) not in text
    assert str(ROOT) not in text
    assert not (executed / "prose.ipynb").exists()


def test_second_execution_gives_the_same_bytes(book):
    before = {path.name: path.read_bytes() for path in book.iterdir()}
    assert run(book, "--force") == 0
    assert {path.name: path.read_bytes() for path in book.iterdir()} == before


def test_only_what_changed_is_executed(book, capsys):
    assert run(book) == 0
    assert "nothing to execute" in capsys.readouterr().out
    edit(book / "short.md", "last", "very last")
    assert run(book) == 0
    out = capsys.readouterr().out
    assert "short: executed" in out
    assert "figure" not in out
    assert "very last" in (book / "short.ipynb").read_text()


def test_the_seconds_that_a_notebook_takes_are_stored_and_stay_while_they_are_about_right(book):
    path = book / "short.ipynb"

    def store(seconds):
        edit_notebook(path, lambda nb: nb.metadata.update({SECONDS: seconds}))
        assert run(book, "--force", "short") == 0
        return json.loads(path.read_text())["metadata"][SECONDS]

    for wrong in (1000, "damaged", None):
        assert 1 <= store(wrong) <= 20  # measured anew
    assert store(2) == 2
    assert run(book) == 0
    assert stale(book / "short.md") == []


BAD_CODE = {
    "raise ValueError('no such lambda')": "no such lambda",
    "import os; os.kill(os.getpid(), 9)": "Kernel died",
    "import sys; print('log', file=sys.stderr)": "writes to stderr",
    "object()": "address in memory",
    "import matplotlib.pyplot as plt; plt.plot([0, 1]);": "alternative text",
}


def test_failed_execution_leaves_the_notebooks_as_they_were(book, capsys):
    before = (book / "short.ipynb").read_bytes()
    for i, code in enumerate(BAD_CODE):
        bad = book / f"bad{i}.md"
        bad.write_text("# Bad\n\n" + LAST + LAST.replace('print("last")', code) + LAST)
        bad.with_suffix(".ipynb").write_bytes(before)
    assert run(book) == 1
    report = capsys.readouterr().err
    for i, message in enumerate(BAD_CODE.values()):
        assert (book / f"bad{i}.ipynb").read_bytes() == before
        part = report.split(f"bad{i}: FAILED")[1].split(": FAILED")[0]
        assert "code cell 2" in part
        assert message in part
    assert not list(book.glob(".*"))


SLEEP = """\
import os, pathlib, time
pathlib.Path("pid").write_text(str(os.getpid()))
os.rename("pid", "started")
time.sleep(60)"""


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_interrupted_execution_leaves_the_notebook_and_no_kernel(book):
    before = (book / "short.ipynb").read_bytes()
    edit(book / "short.md", 'print("last")', SLEEP)
    command = [sys.executable, "-m", "bookbuild.execute", "--folder", str(book)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for((book / "started").exists)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "interrupted" in error
    assert (book / "short.ipynb").read_bytes() == before
    assert not list(book.glob(".*"))
    wait_for(lambda: not alive(int((book / "started").read_text())))


def test_unknown_name(book, capsys):
    with pytest.raises(SystemExit):
        run(book, "dropuot")
    assert "dropuot; there are: figure, short" in capsys.readouterr().err


# --- what --check notices -----------------------------------------------------------------------


def test_check_passes_and_executes_nothing(book):
    before = {path.name: path.stat().st_mtime_ns for path in book.iterdir()}
    assert run(book, "--check") == 0
    assert {path.name: path.stat().st_mtime_ns for path in book.iterdir()} == before


def code(nb, i):
    return [cell for cell in nb.cells if cell.cell_type == "code"][i]


BROKEN_NOTEBOOKS = {
    "cells instead of": lambda nb: nb.cells.pop(),
    "the source of cell": lambda nb: code(nb, 0).update(source="print('one', 1.26)"),
    "the metadata of cell": lambda nb: code(nb, 1).metadata.update(tags=["remove-cell"]),
    "the notebook's metadata": lambda nb: nb.metadata.update(
        kernelspec={"name": "mine", "display_name": "Mine"}
    ),
    "execution count None": lambda nb: code(nb, 0).update(execution_count=None),
    "execution count 7": lambda nb: code(nb, 0).update(execution_count=7),
    "nothing was raised": lambda nb: code(nb, 2).update(outputs=[]),
    "2 figures in one cell": lambda nb: code(nb, 1).outputs.append(code(nb, 1).outputs[0]),
}


@pytest.mark.parametrize("message", BROKEN_NOTEBOOKS)
def test_check_notices_a_changed_notebook(message, book, capsys):
    edit_notebook(book / "figure.ipynb", BROKEN_NOTEBOOKS[message])
    assert run(book, "--check") == 1
    assert message in capsys.readouterr().err


EDITS = {
    "# A page": "# Another page",
    "1.25": "1.26",
    "hide-input": "hide-cell",
    "raises-exception": "rtol=1e-2",
    "a line that rises": "",
    "    caption: A line.\n": "    name: line\n",
}


@pytest.mark.parametrize("old", EDITS)
def test_check_notices_an_edited_source(old, book, capsys):
    edit(book / "figure.md", old, EDITS[old])
    assert run(book, "--check") == 1
    assert "figure.ipynb" in capsys.readouterr().err


def test_check_notices_missing_damaged_and_ownerless_notebooks(book, capsys):
    (book / "short.ipynb").unlink()
    (book / "figure.ipynb").write_text('{"cells": [')
    (book / "left-over.ipynb").write_text("{}")
    assert run(book, "--check") == 1
    report = capsys.readouterr().err
    for message in ("short.ipynb: was never", "figure.ipynb: cannot be read", "left-over.ipynb: has no .md"):
        assert message in report


# --- this book ----------------------------------------------------------------------------------


@pytest.mark.parametrize("md", chapters(ROOT / "chapters"), ids=lambda md: md.stem)
def test_chapter_belongs_to_its_source_and_is_executed(md):
    assert stale(md) == []


def test_contents_name_every_chapter_and_take_the_executed_ones():
    """A page with code is listed by its .ipynb (its .md has no outputs), a page without by its .md."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    entries = [entry for part in toc["parts"] for entry in part["chapters"]]
    listed = {each["file"] for entry in entries for each in [entry, *entry.get("sections", [])]}
    with_code = {f"chapters/{md.stem}.ipynb" for md in chapters(ROOT / "chapters")}
    prose = {f"chapters/{md.name}" for md in (ROOT / "chapters").glob("*.md")} - {
        name.replace(".ipynb", ".md") for name in with_code
    }
    assert listed == with_code | prose

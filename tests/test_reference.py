"""The library's reference: complete, made from docstrings, and true to the signatures."""

import ast
import importlib
import inspect
import pkgutil
import re
import unicodedata

import pytest

import regularize
from bookbuild.reference import escaped, restructured

MODULES = sorted(m.name for m in pkgutil.iter_modules(regularize.__path__, "regularize."))


def public(module):
    """Functions and classes that are defined here and meant for readers."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(thing) or inspect.isfunction(thing))
        and thing.__module__ == module.__name__
    }


NAMES = [(m, name) for m in MODULES for name in public(importlib.import_module(m))]


def test_every_module_is_on_exactly_one_page_of_the_reference(root):
    pages = [page.read_text(encoding="utf-8") for page in root.glob("chapters/reference-*.md")]
    assert sorted(re.findall(r"automodule:: (\S+)", "\n".join(pages))) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module):
    assert inspect.getdoc(importlib.import_module(module))


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[".".join(pair) for pair in NAMES])
def test_every_public_name_is_documented_and_its_parameters_exist(module, name):
    thing = getattr(importlib.import_module(module), name)
    text = thing.__doc__ or ""
    assert text, f"{module}.{name} has no docstring"
    if section := re.search(r"Parameters\n-+\n(.*?)(?:\n\n|\Z)", inspect.cleandoc(text), re.DOTALL):
        entries = re.findall(r"(?m)^(\*?\w[\w, *]*) : ", section[1])
        listed = {name.strip("* ") for entry in entries for name in entry.split(",")}
        parameters = inspect.signature(thing).parameters
        free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())  # **setting, listed one by one
        assert free or listed <= set(parameters), f"{module}.{name} documents others"
    if inspect.isclass(thing):
        inherited = {attribute for base in thing.__mro__[1:] for attribute in vars(base)}
        bare = [
            key
            for key, value in vars(thing).items()
            if not key.startswith("_") and inspect.isfunction(value) and key not in inherited
            if not (value.__doc__ or "")
        ]
        protocol = getattr(thing, "_is_protocol", False)  # explained as a whole
        assert protocol or not bare, f"{module}.{name}: no docstring for {', '.join(bare)}"


@pytest.mark.parametrize(
    ("line", "rst"),
    [
        ("a |w| and *layers", r"a \|w\| and \*layers"),
        ("``|w| * x_``, w_ here", r"``|w| * x_``, w\_ here"),
        ("n_in, dx = g W^T", "n_in, dx = g W^T"),
        ("`one` \\n", "\\`one\\` \\\\n"),
    ],
)
def test_signs_stand_for_themselves(line, rst):
    assert escaped(line) == rst


def test_sections_become_lists_and_indented_lines_stay_as_they_are():
    text = ["A loss.", "", "    |w| = 1", "", "Where w : x.", "", "Parameters", "----------", "x : rows,",
            "    of *any* length.", "", "Raises", "------", "ValueError : never."]  # fmt: skip
    rst = list(restructured(text))
    at = rst.index(".. code-block:: text")
    assert [line for line in rst[at : at + 6] if line] == [rst[at], "    |w| = 1", "Where w : x."]
    at = rst.index(".. rubric:: Parameters")
    assert rst[at + 2 : at + 5] == ["x", "    rows,", r"    of \*any\* length."]
    assert rst[-3:] == ["", "ValueError", "    never."]


def plain(name):
    """A surname without accents, spaces, braces and case: "Le Cun" is "lecun", "Candès" is "candes"."""
    letters = unicodedata.normalize("NFKD", re.sub(r"\\[^a-zA-Z]|\\[a-zA-Z]\s", "", name))
    return "".join(letter for letter in letters if letter.isalpha()).lower()


def cited(text):
    """First author and year of "A, B and C (2019)", "A et al. 2016a", "A & B 2015; C 2000"."""
    name = r"(?:[A-Z]\. )*(?:(?:Le|De|Van|von) )?[A-Z][^\W\d_]*(?:['’-][A-Z]?[^\W\d_]+)*"
    people = rf"({name})(?:,? (?:and|&) {name}|, {name})*(?:,? et al\.?)?"
    found = re.finditer(rf"{people},? \(?((?:19|20)\d\d)[a-z]?\b", text)
    return {(plain(re.sub(r"[A-Z]\. ", "", m[1])), m[2]) for m in found}


def entries(text):
    """First author and year of each entry of a BibTeX file."""
    for entry in re.split(r"(?m)^@", text)[1:]:
        author = re.search(r"\bauthor\s*=\s*\{(.*?),", entry, re.DOTALL)
        year = re.search(r"\byear\s*=\s*\{(\d{4})", entry)
        if author and year:
            yield plain(author[1]), year[1]


def test_every_paper_that_a_docstring_cites_is_in_the_bibliography(root):
    known = set(entries((root / "references.bib").read_text(encoding="utf-8")))
    found = set()
    for source in (root / "lib" / "regularize").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found |= cited(" ".join((ast.get_docstring(node) or "").split()))
    assert {("srivastava", "2014"), ("drucker", "1992")} <= found
    assert not sorted(found - known)

"""A Sphinx extension: the library's reference, made from its docstrings by autodoc.

The docstrings are plain text that reads well in a terminal. Here they become reStructuredText:

* a section such as "Parameters", underlined, becomes a list of terms and their meaning;
* an indented block, such as a formula, stays as it is;
* signs that mean something to reStructuredText outside of ``code`` lose that meaning.
"""

import re
from collections.abc import Iterator
from typing import Any

HEADING = re.compile(r"-{3,}\s*")
ENTRY = re.compile(r"(\S.*?) : (.*)")
CODE = re.compile(r"(``.+?``)")
SPECIAL = re.compile(r"(?<!\\)([*|`\\]|_(?=\W|$))")


def escaped(line: str) -> str:
    """Outside of double backticks, every sign stands for itself."""
    parts = CODE.split(line)
    return "".join(part if i % 2 else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))


def restructured(lines: list[str]) -> Iterator[str]:
    """The lines of one docstring as reStructuredText."""
    section, literal = False, False
    for i, line in enumerate(lines):
        below = lines[i + 1] if i + 1 < len(lines) else ""
        indented = line.startswith("    ")
        if HEADING.fullmatch(line) and i:
            continue  # the line under a heading
        if HEADING.fullmatch(below) and line:
            section, literal = True, False
            yield from ("", f".. rubric:: {escaped(line)}", "")
        elif section and (entry := ENTRY.fullmatch(line)) and not indented:
            yield from (escaped(entry[1]), f"    {escaped(entry[2])}")
        elif indented and not section:
            if not literal:
                yield from ("", ".. code-block:: text", "")
            literal = True
            yield line
        elif not line:
            yield line
        else:
            if literal:
                yield ""
            literal = False
            yield escaped(line)


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = list(restructured(lines))
    if what == "module":
        lines[:0] = [f"``from {name} import ...``", ""]


def shorten(app: Any, what: str, name: str, thing: Any, options: Any, signature: str, returns: str) -> Any:
    """A class that only says what others must offer has no signature of its own."""
    return ("" if signature == "(*args, **kwargs)" else signature), returns


def setup(app: Any) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.viewcode")  # each name links to its code
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", process)
    app.config.autodoc_typehints = "none"
    app.config.autodoc_member_order = "bysource"
    app.config.autodoc_default_options = {"members": True, "special-members": "__call__"}
    app.config.autodoc_inherit_docstrings = False
    app.config.add_module_names = False
    app.config.nitpick_ignore = [("py:class", "collections.abc.Callable")]  # what a type alias shows
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

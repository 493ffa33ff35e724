"""A Sphinx extension that renders formulas while the book is built, so that pages need no script for them.

KaTeX runs in V8 (the package mini-racer), inside this process. Formulas that KaTeX cannot read are warnings,
with which `-W` fails the build. Equations are numbered, and reached by {eq}, as Sphinx does it. KaTeX knows
no \\label, \\ref, multline or \\intertext: write a {math} block with `:label:` around `aligned` instead.

    html_math_renderer = "katexbuild"
    katexbuild_macros = {r"\\R": r"\\mathbb{R}"}
"""

import atexit
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from py_mini_racer import MiniRacer
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

KATEX = Path(__file__).parent / "katex"
SELF_NUMBERED = re.compile(r"\\(begin|end)\{(align|equation|gather|alignat)\}")
RENDER = """
function render(tex, display, macros) {
  try {
    const options = {displayMode: display, macros: JSON.parse(macros), strict: "error"};
    return "+" + katex.renderToString(tex, options);
  } catch (error) {
    return "-" + error.message;
  }
}; 0
"""

logger = logging.getLogger(__name__)


@cache
def engine() -> MiniRacer:
    """V8 with KaTeX loaded, made once. Python does not end while it is open, however it comes to its end."""
    racer = MiniRacer()
    atexit.register(racer.close)
    racer.eval((KATEX / "katex.min.js").read_text(encoding="utf-8") + "; 0")
    racer.eval(RENDER)
    return racer


@cache
def render(tex: str, display: bool, macros: str = "{}") -> str:
    """The HTML and MathML of one formula. Raises ValueError with KaTeX's explanation."""
    answer = engine().call("render", tex, display, macros)
    if answer[0] == "-":
        raise ValueError(answer[1:])
    return answer[1:]


def html(translator: Any, node: nodes.Node, tex: str, display: bool) -> str:
    try:
        return render(tex, display, json.dumps(translator.config.katexbuild_macros))
    except ValueError as error:
        logger.warning("%s", error, location=node, type="katexbuild")
        return f"<code>{translator.encode(tex)}</code>"


def visit_inline(translator: Any, node: nodes.math) -> None:
    start = translator.starttag(node, "span", "", CLASS="math notranslate nohighlight")
    translator.body.append(f"{start}{html(translator, node, node.astext(), False)}</span>")
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(html(translator, node, block_tex(node.astext()), True) + "</div>\n")
    raise nodes.SkipNode


def block_tex(tex: str) -> str:
    """Sphinx numbers blocks, so KaTeX must not; and lines need an environment to stand in."""
    tex = SELF_NUMBERED.sub(r"\\\1{\2*}", tex)
    return f"\\begin{{split}}{tex}\\end{{split}}" if r"\\" in tex and r"\begin" not in tex else tex


def copy_style(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        target = Path(app.outdir, "_static", "katex")
        shutil.copytree(KATEX / "fonts", target / "fonts", dirs_exist_ok=True)
        shutil.copy(KATEX / "katex.min.css", target)


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("katexbuild", (visit_inline, None), (visit_block, None))
    app.add_config_value("katexbuild_macros", {}, "html")
    app.add_css_file("katex/katex.min.css")  # on every page: titles in the contents hold formulas too
    app.connect("build-finished", copy_style)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": False,
    }  # V8 does not survive a fork

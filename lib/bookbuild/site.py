"""A Sphinx extension for the pages of the book: light, accessible, and asking nothing of any other host.

* adds static/ (book.css, book.js) and templates/, which leave out 1.5 MB of icons that no page shows;
* gives figures their size, so that the text does not jump while they load, and lets far ones load late;
* says below the title of a notebook what running it takes;
* warns, and so fails a build with `-W`, of an image without alternative text and of anything that a page
  would load from elsewhere.
"""

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.util import logging

from bookbuild.execute import SECONDS

HERE = Path(__file__).parent
IMAGE = re.compile(r"<img\b[^>]*>")
LOADS = re.compile(r"<(?:script|img|iframe|source|video|audio|embed|object|link)\b[^>]*>")
URL = re.compile(r"""\b(?:src|href|data|srcset)=["']?((?:https?:)?//[^"'\s>]+)""")
ONLY_NAMED = re.compile(r'\brel="(?:canonical|alternate|license|author|me)"')
# What the theme and myst-nb get wrong: the visible words of a control must be part of its name (WCAG 2.5.3),
# the title in the sidebar must belong to a landmark, and one viewport is enough.
# Each repair: pattern, replacement, how often (0: everywhere).
REPAIRS = (
    (r'<summary aria-label="[^"]*">', "<summary>", 0),
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Pages within">', 0),
    (r'(<button class="btn [^"]*search-button-field[^"]*"[^>]*?) aria-label="[^"]*"', r"\1", 0),
    (r'<div class="sidebar-primary-item"', r'\g<0> role="navigation" aria-label="Site"', 1),
    (r'<meta name="viewport" content="width=device-width, initial-scale=1.0" />', "", 1),
)
UNUSED = ("_static/scripts/fontawesome.js*", "_static/**/*.map", "_static/*webpack-macros.html")

logger = logging.getLogger(__name__)


def add_assets(app: Any, config: Any) -> None:
    config.html_static_path = [*config.html_static_path, str(HERE / "static")]
    config.html_favicon = str(HERE / "static" / "favicon.svg")
    config.templates_path = [*config.templates_path, str(HERE / "templates")]


def check_images(app: Any, doctree: Any, docname: str) -> None:
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            logger.warning("image without alternative text: %s", image["uri"], location=image, type="site")


def size_images(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Write width, height and late loading into the page's <img> tags."""
    if "body" not in context or not hasattr(app.builder, "images"):
        return
    files = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}
    body = IMAGE.sub(lambda match: sized(match[0], files), context["body"])
    context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')  # the first is no item


def sized(tag: str, files: dict[str, Path]) -> str:
    source = re.search(r'src="[^"]*_images/([^"]+)"', tag)
    if source is None or source[1] not in files or "width" in tag or not source[1].endswith(".png"):
        return tag
    with Image.open(files[source[1]]) as image:
        width, height = image.size
        scale = min(
            1.0, 100 / image.info.get("dpi", (100, 100))[0]
        )  # a figure of 200 dpi is shown half as wide
    size = f' width="{round(width * scale)}" height="{round(height * scale)}" loading="lazy"'
    return tag.rstrip("/> ") + size + " />"


def show_seconds(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Below the title: the processor seconds that `bookbuild.execute` stored in the page's notebook."""
    notebook = Path(app.srcdir, f"{pagename}.ipynb")
    if "body" not in context or not notebook.exists():
        return
    seconds = json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get(SECONDS)
    if seconds is not None:
        said = f"The code of this page runs in about {seconds} s on one processor core."
        context["body"] = context["body"].replace("</h1>", f'</h1>\n<p class="seconds">{said}</p>', 1)


def finish(app: Any, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    root = Path(app.outdir)
    for path in {path for pattern in UNUSED for path in root.glob(pattern)}:
        path.unlink()
    for page in root.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        for pattern, replacement, count in REPAIRS:
            html = re.sub(pattern, replacement, html, count=count)
        page.write_text(html, encoding="utf-8")
        for url in external(html):
            logger.warning("%s loads %s from another host", page.relative_to(root), url, type="site")


def external(html: str) -> list[str]:
    """What a browser would fetch from another host to show this page."""
    tags = [tag for tag in LOADS.findall(html) if not ONLY_NAMED.search(tag)]
    return [url for tag in tags for url in URL.findall(tag)]


def setup(app: Any) -> dict[str, Any]:
    app.connect("config-inited", add_assets)
    app.connect("doctree-resolved", check_images)
    app.connect("html-page-context", size_images)
    app.connect("html-page-context", show_seconds)
    app.connect("build-finished", finish)
    app.add_css_file("book.css")
    app.add_js_file("book.js", defer="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""The site: formulas rendered while building, nothing from other hosts, words for images, true success."""

import re
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from bookbuild import build
from bookbuild.execute import KERNEL, SECONDS
from bookbuild.katexbuild import KATEX, block_tex, render
from bookbuild.site import external

# --- formulas -----------------------------------------------------------------------------------


def test_formula_has_html_and_mathml():
    html = render(r"\hat\lambda = \frac{1}{n}\sum_i x_i^2", True)
    assert 'class="katex-display"' in html
    assert "<mfrac>" in html


@pytest.mark.parametrize("tex", [r"\frac{1}", r"\nosuchmacro", r"x \label{a}", "{", "Größe"])
def test_formula_that_cannot_be_read(tex):
    with pytest.raises(ValueError, match=r"KaTeX|LaTeX-incompatible"):
        render(tex, False)


def test_macros():
    assert "mathbb" in render(r"\Reals", False, r'{"\\Reals": "\\mathbb{R}"}')


def test_lines_get_an_environment_and_blocks_no_second_number():
    assert block_tex(r"a \\ b") == r"\begin{split}a \\ b\end{split}"
    assert block_tex("a") == "a"
    assert block_tex(r"\begin{align}a\end{align}") == r"\begin{align*}a\end{align*}"
    assert "tag" not in render(block_tex(r"\begin{align}a\end{align}"), True)


def test_style_sheet_names_the_vendored_fonts_only():
    named = set(re.findall(r"url\(([^)]*)\)", (KATEX / "katex.min.css").read_text()))
    assert named == {f"fonts/{path.name}" for path in (KATEX / "fonts").iterdir()}


# --- what a page loads --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        "<img alt='a' src='//example.org/a.png'>",
        '<link rel="stylesheet" href="http://example.org/a.css" />',
        '<iframe title="a" src="https://example.org"></iframe>',
        '<img srcset="https://example.org/a.png 2x" src="a.png">',
    ],
)
def test_tag_that_loads_from_elsewhere(tag):
    assert len(external(f"<p>{tag}</p>")) == 1


@pytest.mark.parametrize(
    "tag",
    [
        '<a href="https://example.org">a link</a>',
        '<link rel="canonical" href="https://example.org/page.html" />',
        '<img src="../_images/a.png" alt="http://example.org">',
        '<script src="_static/a.js"></script>',
    ],
)
def test_tag_that_does_not(tag):
    assert external(tag) == []


# --- a small book, built with the book's own settings -------------------------------------------

PAGE = r"""
# Page $x^2$

Inline $\hat\lambda$, a [link](https://example.org), {cite}`known`, {eq}`objective`, {numref}`fig-line`.

```{math}
:label: objective
\begin{aligned}
J &= \lambda \Omega(w) \\
  &= 0
\end{aligned}
```
"""
BROKEN = r"""
# Broken

A formula $\nosuchmacro$ and an image ![](line.png) and a script.

<script src="https://cdn.example.org/a.js"></script>

{ref}`no-such-label` {cite}`unknown`
"""


def figure_cell(folder: Path):
    """A cell with a stored figure, 800 x 400 points at 200 dpi."""
    Image.new("RGB", (800, 400), "white").save(folder / "line.png", dpi=(200, 200))
    picture = b64encode((folder / "line.png").read_bytes()).decode()
    output = new_output("display_data", data={"image/png": picture, "text/plain": "a figure"})
    render = {"image": {"alt": "a line that rises"}, "figure": {"caption": "A line.", "name": "fig-line"}}
    return new_code_cell("plot()", execution_count=1, outputs=[output], metadata={"mystnb": render})


def build_book(folder: Path, root: Path, *cells) -> subprocess.CompletedProcess:
    """Build README.md and one chapter of these cells, as `make book` does."""
    shutil.copy(root / "_config.yml", folder)
    (folder / "references.bib").write_text("@misc{known, author={Doe, J.}, title={A title}, year={2020}}")
    (folder / "README.md").write_text("# Book\n\n```{bibliography}\n```\n")
    toc = {"format": "jb-book", "root": "README", "chapters": [{"file": "chapters/page.ipynb"}]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc))
    page = new_notebook(cells=list(cells), metadata={**KERNEL, SECONDS: 17})
    nbformat.write(page, folder / "chapters" / "page.ipynb")
    (folder / "chapters" / "page.md").write_text("# The source, which must not get in the way\n")
    code = "import sys, pathlib, bookbuild.build as b; sys.exit(not b.build(pathlib.Path(sys.argv[1])))"
    return subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("book")
    (folder / "chapters").mkdir()
    result = build_book(folder, root, new_markdown_cell(PAGE), figure_cell(folder / "chapters"))
    assert result.returncode == 0, result.stderr
    return folder / "_build" / "html"


def test_formulas_are_in_the_page_and_numbered(site):
    html = (site / "chapters" / "page.html").read_text()
    assert html.count('class="katex"') >= 3
    assert 'class="katex-display"' in html
    assert 'id="equation-objective"' in html
    assert re.search(r'href="#equation-objective">\(1\)</a>', html)
    assert "katex/katex.min.css" in html
    assert (site / "_static" / "katex" / "fonts" / "KaTeX_Main-Regular.woff2").exists()


def test_no_page_needs_mathjax_thebe_or_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 4
    for page in pages:
        html = page.read_text()
        assert external(html) == []
        scripts = " ".join(re.findall(r"<script\b.*?</script>", html, flags=re.S)).lower()
        for unwanted in ("mathjax", "thebe", "fontawesome", "http:", "https:"):
            assert unwanted not in scripts, page


def test_a_notebooks_page_says_what_running_it_takes(site):
    html = (site / "chapters" / "page.html").read_text()
    assert re.search(r'</h1>\s*<p class="seconds">[^<]* 17 s [^<]*</p>', html)
    assert 'class="seconds"' not in (site / "README.html").read_text()


def test_every_image_has_words_and_size(site):
    images = [tag for page in site.rglob("*.html") for tag in re.findall(r"<img\b[^>]*>", page.read_text())]
    assert images
    assert all(re.search(r'\balt="[^"]+"', tag) for tag in images)
    assert any('width="400" height="200" loading="lazy"' in tag for tag in images)


def test_every_file_that_a_page_names_is_there(site):
    for page in site.rglob("*.html"):
        html = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.S)
        for target in re.findall(r"\b(?:src|href)=\"(?!https?:)([^\"#?:]+)", html):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_broken_pages_fail_the_build(tmp_path, root):
    (tmp_path / "chapters").mkdir()
    figure_cell(tmp_path / "chapters")
    result = build_book(tmp_path, root, new_markdown_cell(BROKEN))
    assert result.returncode != 0
    for message in (
        r"Undefined control sequence: \nosuchmacro",
        "image without alternative text",
        "loads https://cdn.example.org/a.js from another host",
        "no-such-label",
        "unknown",
    ):
        assert message in result.stderr, message
    assert not (tmp_path / "_build" / "built-from").exists()


# --- when a build is skipped --------------------------------------------------------------------


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """`build.build` with Jupyter Book replaced: .fails says what it does, .runs how often it ran."""

    class Builder:
        root, runs, fails, writes = tmp_path, 0, False, True

        def __call__(self, force=False):
            return build.build(tmp_path, force)

        def jupyter_book(self, *args, **options):
            self.runs += 1
            if self.writes:
                (tmp_path / "_build" / "html").mkdir(parents=True)
                (tmp_path / "_build" / "html" / "index.html").write_text("the book")
            return subprocess.CompletedProcess(args, int(self.fails))

    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "a.md").write_text("# A")
    (tmp_path / "_config.yml").write_text("title: A")
    replaced = Builder()
    monkeypatch.setattr(build.subprocess, "run", replaced.jupyter_book)
    return replaced


def test_unchanged_book_is_not_built_again(builder):
    assert builder()
    assert builder()
    assert builder.runs == 1
    assert builder(force=True)
    assert builder.runs == 2


@pytest.mark.parametrize("name", ["chapters/a.md", "_config.yml", "references.bib"])
def test_any_change_builds_again(builder, name):
    assert builder()
    (builder.root / name).write_text("# B")
    assert builder()
    assert builder.runs == 2


def test_failed_build_is_never_taken_for_a_good_one(builder):
    assert builder()
    (builder.root / "chapters" / "a.md").write_text("# B")
    builder.fails = True
    assert not builder()
    assert not builder()
    (builder.root / "chapters" / "a.md").write_text("# A")  # what the last good build was made from
    assert not builder()
    builder.fails = False
    assert builder()
    assert builder.runs == 5


def test_build_that_writes_nothing_has_failed(builder):
    builder.writes = False
    assert not builder()


def test_lost_pages_are_built_again(builder):
    assert builder()
    shutil.rmtree(builder.root / "_build" / "html")
    assert builder()
    assert builder.runs == 2

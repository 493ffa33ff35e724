"""Build the site into _build/html: `python -m bookbuild.build [--force]`.

Warnings are errors. A build always starts afresh: one that continues an earlier build repeats neither the
warnings of pages that have not changed nor links that another page has broken. When no input has changed
since the last build that succeeded, nothing is done.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "_config.yml",
    "_toc.yml",
    "*.md",
    "*.bib",
    "chapters/**/*",
    "lib/bookbuild/**/*",
    "lib/regularize/**/*.py",
)
GENERATED = {"__pycache__", ".ipynb_checkpoints"}


def digest(root: Path) -> str:
    """A name for everything the site is made from: the files' names and bytes, and the installed versions."""
    state = hashlib.sha256()
    files = {path for pattern in SOURCES for path in root.glob(pattern) if path.is_file()}
    for path in sorted(path for path in files if not GENERATED & set(path.parts)):
        state.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    state.update(str(sorted((d.name, d.version) for d in distributions())).encode())
    return state.hexdigest()


def build(root: Path, force: bool = False) -> bool:
    """Build the book in `root` unless it is there already; True if it is there at the end."""
    out, done = root / "_build" / "html", root / "_build" / "built-from"
    inputs = digest(root)
    if not force and done.exists() and done.read_text() == inputs and (out / "index.html").exists():
        return True
    done.unlink(missing_ok=True)  # before anything else: from here on only success counts
    for folder in (out, out.parent / ".doctrees", out.parent / "jupyter_execute"):
        shutil.rmtree(folder, ignore_errors=True)
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    command = [jupyter_book, "build", str(root), "-W", "-n", "--keep-going", "-q"]
    failed = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL).returncode  # warnings are on stderr
    if failed or not (out / "index.html").exists():
        return False
    done.write_text(inputs)
    return True


def main() -> int:
    start = time.monotonic()
    if not build(ROOT, force="--force" in sys.argv[1:]):
        print("The book could not be built: the warnings above say why.", file=sys.stderr)
        return 1
    index = ROOT / "_build" / "html" / "index.html"
    print(f"The book is complete ({time.monotonic() - start:.1f} s). Open it: {os.path.relpath(index)}")
    print("or serve it: make serve")
    return 0


if __name__ == "__main__":
    sys.exit(main())

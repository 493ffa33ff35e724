"""Execute the chapters: chapters/NAME.md, the only file a person edits, gives chapters/NAME.ipynb beside it.

    python -m bookbuild.execute [--check] [--force] [--folder chapters] [NAME ...]

Without options every chapter whose .md differs from its .ipynb is executed, two at a time; `--force` executes
all (do that after a change in the library: nbval says which outputs moved). `--check` executes nothing and
names every notebook that is not the whole, executed twin of its source. A page without code is no notebook.

Two executions give the same bytes: everything that changes from run to run without meaning (ids, times,
kernel versions, file paths in tracebacks) is left out. A notebook is written beside its place and then moved
into it, and only if every cell ran and `faults` found nothing, so a failed or interrupted run leaves the
previous one whole.

A notebook's metadata hold the processor seconds that its execution took, which its page shows. They are kept
while they are right to a quarter or a second, so that they do not spoil the equality of bytes.
"""

import argparse
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
CELL_TIMEOUT = 600  # seconds
SECONDS = "processor_seconds"  # the notebook's metadata that hold what its execution took
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ANSI = re.compile(r"\x1b\[[0-9;]*m")
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")


class ChapterError(Exception):
    """A chapter that cannot be executed, or whose notebook must not be kept; the message names the cell."""


def chapters(folder: Path) -> list[Path]:
    """The sources in `folder` that have code cells, by name."""
    return [md for md in sorted(folder.glob("*.md")) if "```{code-cell}" in md.read_text(encoding="utf-8")]


def read_source(md: Path) -> NotebookNode:
    """The notebook that `md` (MyST) describes, with stable ids and metadata and without outputs."""
    nb = jupytext.read(md, fmt="md:myst")
    formats = nb.metadata.pop("jupytext", {}).get("formats")
    nb.metadata.update(nbformat.from_dict(KERNEL))
    if formats:  # the author wants Jupyter to write both files
        nb.metadata["jupytext"] = {"formats": formats}
    nb.nbformat, nb.nbformat_minor = 4, 5
    for i, cell in enumerate(nb.cells):
        cell.id = f"{md.stem}-{i}"
    return nb


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def clean(nb: NotebookNode, source: NotebookNode) -> NotebookNode:
    """Take metadata from the source again, and from each error the traceback, which holds file paths."""
    nb.metadata = source.metadata
    for cell, original in zip(nb.cells, source.cells, strict=True):
        cell.metadata = original.metadata
        for out in cell.get("outputs", []):
            if out.output_type == "error":
                out.traceback = [f"{out.ename}: {out.evalue}"]
    return nb


def execute(md: Path) -> NotebookNode:
    """Run every cell of `md` in a new kernel, in the chapter's folder. Raises ChapterError."""
    nb, started, seconds = read_source(md), [], [0.0]

    def read_clock(**_: Any) -> None:  # of the kernel's process; nobody can ask once it has ended
        times = psutil.Process(client.km.provisioner.pid).cpu_times()
        seconds.append(times.user + times.system)

    client: Any = NotebookClient(
        nb,
        on_cell_execute=lambda cell, cell_index: started.append(cell.source),
        on_cell_executed=read_clock,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of plain local sockets
        resources={"metadata": {"path": str(md.parent)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        what = ANSI.sub("", str(error)).strip()  # holds the cell's source if the cell raised
        where = "" if isinstance(error, CellExecutionError) else f"\n--- in\n{started[-1]}"
        raise ChapterError(f"code cell {len(started)}: {what}{where}") from None
    nb = clean(nb, read_source(md))
    if found := faults(nb):
        raise ChapterError("\n".join(found))
    nb.metadata[SECONDS] = max(1, round(seconds[-1]))
    return nb


def keep_seconds(nb: NotebookNode, path: Path) -> None:
    """Leave the seconds that the notebook at `path` holds if they are right to a quarter."""
    try:
        before = int(json.loads(path.read_text(encoding="utf-8"))["metadata"][SECONDS])
    except (OSError, ValueError, LookupError, TypeError):  # none before, or damaged
        return
    if abs(nb.metadata[SECONDS] - before) <= max(1, before / 4):
        nb.metadata[SECONDS] = before


def figure_faults(cell: NotebookNode) -> list[str]:
    """A figure needs words for those who cannot see it, a caption, and a cell of its own."""
    images = [out for out in cell.outputs if any(kind.startswith("image/") for kind in out.get("data", {}))]
    if not images or {"remove-output", "remove-cell"} & set(tags(cell)):
        return []
    render = cell.metadata.get("mystnb", {})
    found = [] if len(images) == 1 else [f"{len(images)} figures in one cell; give each its own"]
    if not str(render.get("image", {}).get("alt") or "").strip():
        found.append("a figure without alternative text (metadata mystnb: image: alt:)")
    if not str(render.get("figure", {}).get("caption") or "").strip():
        found.append("a figure without a caption (metadata mystnb: figure: caption:)")
    return found


def cell_faults(cell: NotebookNode, number: int) -> list[str]:
    """What is wrong with one code cell, which must carry execution count `number`."""
    found = figure_faults(cell)
    if cell.execution_count != number:
        found.append(
            f"execution count {cell.execution_count} instead of {number}: not executed top to bottom"
        )
    if any(out.get("name") == "stderr" for out in cell.outputs) and "remove-stderr" not in tags(cell):
        text = "".join(out.text for out in cell.outputs if out.get("name") == "stderr")
        found.append(f"writes to stderr (tag remove-stderr allows and hides it): {text.strip()[:300]}")
    if "raises-exception" in tags(cell) and not any(out.output_type == "error" for out in cell.outputs):
        found.append("tagged raises-exception, but nothing was raised")
    for out in cell.outputs:
        text = "".join([out.get("text", ""), *map(str, out.get("data", {}).values())])
        if address := ADDRESS.search(text):
            found.append(f"prints an address in memory, other on every run:{address[0]}")
    return found


def faults(nb: NotebookNode) -> list[str]:
    """What keeps an executed notebook out of the book; [] when nothing does."""
    cells = enumerate(code_cells(nb), start=1)
    return [f"code cell {n}: {fault}" for n, cell in cells for fault in cell_faults(cell, n)]


def differences(md: Path, nb: NotebookNode) -> list[str]:
    """Where the notebook is not the one that `md` describes, outputs left aside."""
    source = read_source(md)
    metadata = {key: value for key, value in nb.metadata.items() if key != SECONDS}
    found = [] if metadata == source.metadata else ["the notebook's metadata differ"]
    if len(nb.cells) != len(source.cells):
        found.append(f"{len(nb.cells)} cells instead of {len(source.cells)}")
    for i, (old, new) in enumerate(zip(nb.cells, source.cells, strict=False)):
        for field in ("cell_type", "id", "source", "metadata"):
            if old.get(field) != new[field]:
                found.append(f"the {field} of cell {i} differs")
    return found[:3]


def stale(md: Path) -> list[str]:
    """Why NAME.ipynb has to be made anew from NAME.md; [] when it need not."""
    path = md.with_suffix(".ipynb")
    if not path.exists():
        return ["was never executed"]
    try:
        nb = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises a dozen kinds for a damaged file
        return [f"cannot be read: {error}"]
    return differences(md, nb) + faults(nb)


def write(nb: NotebookNode, path: Path) -> None:
    """Write `nb` so that `path` holds the old notebook or the new one at every moment."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    os.replace(part, path)


def make(md: Path) -> float:
    """Execute one chapter and write its notebook; returns seconds. Raises ChapterError."""
    start, path = time.monotonic(), md.with_suffix(".ipynb")
    nb = execute(md)
    keep_seconds(nb, path)
    write(nb, path)
    return time.monotonic() - start


def run(sources: list[Path], jobs: int) -> bool:
    """Make the notebooks, `jobs` at a time, and report each as it is done; True if all went well."""
    good, pool = True, ThreadPoolExecutor(jobs)  # no `with`: it would wait for running cells after Ctrl-C
    waiting = {pool.submit(make, md): md for md in sources}
    for job in as_completed(waiting):
        name = waiting[job].stem
        try:
            print(f"{name}: executed in {job.result():.1f} s", flush=True)
        except ChapterError as error:
            good = False
            print(f"{name}: FAILED, notebook left as it was\n{error}", file=sys.stderr, flush=True)
    return good


def check(folder: Path, sources: list[Path]) -> bool:
    """Print what is stale, and notebooks that have no source; True if there is nothing to print."""
    reports = [(md.stem, stale(md)) for md in sources]
    owned = {md.stem for md in chapters(folder)}
    reports += [
        (nb.stem, ["has no .md with code cells"]) for nb in folder.glob("*.ipynb") if nb.stem not in owned
    ]
    for name, found in reports:
        for reason in found:
            print(f"{name}.ipynb: {reason}", file=sys.stderr)
    return not any(found for _, found in reports)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bookbuild.execute", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="chapters, without ending; default: all")
    parser.add_argument("--check", action="store_true", help="execute nothing, fail if a notebook is stale")
    parser.add_argument("--force", action="store_true", help="execute unchanged chapters too")
    parser.add_argument("--folder", type=Path, default=CHAPTERS)
    parser.add_argument("--jobs", type=int, default=2, help="chapters executed at once (default 2)")
    args = parser.parse_args(argv)
    args.sources = chapters(args.folder)
    if unknown := set(args.names) - {md.stem for md in args.sources}:
        known = ", ".join(md.stem for md in args.sources)
        parser.error(f"no chapter with code cells named {', '.join(sorted(unknown))}; there are: {known}")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    wanted = [md for md in args.sources if not args.names or md.stem in args.names]
    if args.check:
        return 0 if check(args.folder, wanted) else 1
    todo = [md for md in wanted if args.force or stale(md)]
    if not todo:
        print("every notebook belongs to its source: nothing to execute (--force executes all the same)")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in ("PYTHONDONTWRITEBYTECODE", "MPLBACKEND"):  # slow kernels; figures that never appear
        os.environ.pop(name, None)
    try:
        return 0 if run(todo, args.jobs) else 1
    except KeyboardInterrupt:
        print("interrupted: unfinished chapters keep their previous notebooks", file=sys.stderr, flush=True)
        os._exit(130)  # without waiting for the cells that run; a kernel ends when its parent has


if __name__ == "__main__":
    sys.exit(main())

"""A pytest plugin for nbval: stored outputs must come out again, on any machine.

Numbers may differ by one unit of the last printed place, or by the relative or absolute tolerance that a cell
asks for with a tag such as `rtol=1e-2` or `atol=0.5`. Integers must be equal (an `atol` of 1 or more is for
them, too), and so must be the text between the numbers (blanks aside: 9.99 and 10.0 align differently). nbval
alone compares literally, and has four holes that are closed here: it passes a cell that was never executed,
or that is tagged `raises-exception` and raises nothing; it does not look whether a figure is there; and it
waits for the whole cell timeout before it notices a dead kernel.
"""

import os
import re
import time
from decimal import Decimal
from queue import Empty
from tempfile import TemporaryDirectory
from typing import Any

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

NUMBER = re.compile(r"[-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+−]?\d+)?")
PNG = "iVBORw0KGgo"  # how every PNG begins in base64


def close(stored: str, new: str, rtol: float = 0.0, atol: float = 0.0) -> bool:
    """Whether two outputs are equal within the tolerance that the module describes."""
    if [line_words(text) for text in NUMBER.split(stored)] != [
        line_words(text) for text in NUMBER.split(new)
    ]:
        return False
    pairs = zip(NUMBER.findall(stored), NUMBER.findall(new), strict=True)
    return all(number_close(a, b, rtol, atol) for a, b in pairs)


def line_words(text: str) -> list[list[str]]:
    return [line.split() for line in text.split("\n")]


def number_close(stored: str, new: str, rtol: float, atol: float) -> bool:
    """`1.` counts as an integer: NumPy writes 1.0 so, and how exact it was nobody can say."""
    if stored == new:
        return True
    a, b = (Decimal(text.replace("−", "-").rstrip(".")) for text in (stored, new))
    if not re.search(r"\.\d|[eE]", stored + " " + new):
        return abs(a - b) <= Decimal(str(atol))
    unit = Decimal(1).scaleb(min(int(number.as_tuple().exponent) for number in (a, b)))
    return abs(a - b) <= max(unit, Decimal(str(rtol)) * abs(a), Decimal(str(atol)))


class Approximate(str):
    """A text that nbval finds equal to another when they are `close`."""

    rtol = atol = 0.0

    def __eq__(self, other: object) -> bool:
        return close(str(self), str(other), self.rtol, self.atol)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def sanitize(cell: Any, value: Any) -> Any:
    """nbval passes every value it compares through here."""
    value = nbval_sanitize(cell, value)
    if not isinstance(value, str):
        return value
    if value.startswith(PNG):
        return "a figure"  # that it is there counts; its bytes change with Matplotlib
    text = Approximate(value)
    text.rtol, text.atol = (asked(cell, kind) for kind in ("rtol=", "atol="))
    return text


def asked(cell: Any, kind: str) -> float:
    """The largest tolerance of this kind among the tags of a cell."""
    tags = cell.cell.metadata.get("tags", [])
    return max((float(tag.removeprefix(kind)) for tag in tags if tag.startswith(kind)), default=0.0)


def compare_outputs(cell: Any, new: Any, stored: Any, skip_compare: Any = None) -> Any:
    return nbval_compare(cell, new, stored, [key for key in cell.parent.skip_compare if key != "image/png"])


def runtest(cell: Any) -> None:
    if cell.cell.execution_count is None:
        cell.raise_cell_error("this cell was never executed; run: make notebooks")
    nbval_runtest(cell)
    if cell.options["check_exception"] and not any(out.output_type == "error" for out in cell.test_outputs):
        cell.raise_cell_error("tagged raises-exception, but nothing was raised")


def execute_cell_input(kernel: Any, source: str, allow_stdin: bool | None = None) -> Any:
    """Run a cell as Jupyter does, with history: without it IPython overlooks the `;` that hides a result."""
    return kernel.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


def await_reply(kernel: Any, msg_id: str, timeout: float | None = None) -> None:
    """Wait for the end of a cell, looking every second whether the kernel is still alive."""
    end = time.monotonic() + (timeout or float("inf"))
    while True:
        try:
            message = kernel.get_message(stream="shell", timeout=max(0.01, min(1, end - time.monotonic())))
        except Empty:
            if not kernel.is_alive():
                raise RuntimeError("the kernel died while it ran this cell") from None
            if time.monotonic() >= end:
                raise
        else:
            if message["parent_header"].get("msg_id") == msg_id:
                return


# nbval has no hooks for these, and makes its cells by class name: its methods are replaced.
nbval_sanitize, IPyNbCell.sanitize = IPyNbCell.sanitize, sanitize
nbval_compare, IPyNbCell.compare_outputs = IPyNbCell.compare_outputs, compare_outputs
nbval_runtest, IPyNbCell.runtest = IPyNbCell.runtest, runtest
RunningKernel.execute_cell_input, RunningKernel.await_reply = execute_cell_input, await_reply


def pytest_configure(config: Any) -> None:
    """Kernels inherit this environment: one BLAS thread, figures in the notebook, a start from .pyc files,
    and an IPython folder of their own, which keeps the reader's profile out and the history clean."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in ("PYTHONDONTWRITEBYTECODE", "MPLBACKEND"):
        os.environ.pop(name, None)
    folder = TemporaryDirectory()
    os.environ["IPYTHONDIR"] = folder.name
    config.add_cleanup(folder.cleanup)

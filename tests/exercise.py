"""An exercise and its answers. Each chapter keeps its own in ``answers_CHAPTER.py``."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Exercise:
    check: Callable
    right: Callable  # as a reader would write it: another road than the check's own to the same numbers
    mistakes: list  # (words that only the message of this mistake contains, a function that makes it)

    def __str__(self):
        return self.check.__name__

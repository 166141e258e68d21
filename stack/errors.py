"""The one exception that ends a command with a sentence instead of a traceback."""

from __future__ import annotations


class StackError(Exception):
    """What went wrong, and what the reader should do about it.

    ``remedy`` is printed on lines of its own, so it may hold commands to copy.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

"""A progress bar over things that are counted: tqdm's where it is installed, else lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Without tqdm a line is printed at every so many hundredths.
_EVERY = 10


@contextmanager
def bar(total: int, name: str, unit: str, *, shown: bool) -> Iterator[Callable[[int], Any]]:
    """Show progress, or do nothing; gives the function to call with the number of things just finished."""
    if not shown:
        yield lambda count: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield _Lines(total, name, unit).advance
        return
    with tqdm(total=total, desc=name, unit=unit) as shown_bar:
        yield shown_bar.update


class _Lines:
    """A line at each tenth."""

    def __init__(self, total: int, name: str, unit: str):
        self._total, self._name, self._unit, self._done = total, name, unit, 0

    def advance(self, count: int) -> None:
        before, self._done = self._done, self._done + count
        tenth = lambda done: 100 * done // (self._total * _EVERY)  # noqa: E731
        if tenth(self._done) > tenth(before):
            print(f"{self._name}: {self._done} of {self._total} {self._unit}s")

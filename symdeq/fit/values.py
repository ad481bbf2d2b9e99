"""Numbers by symbol or name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from symdeq._errors import ModelError
from symdeq.model import ModelSymbol

V = TypeVar("V")


class Named(Mapping[str, V]):
    """An immutable mapping from names, whose values are looked up by symbol or by name."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, V]):
        self._values = dict(values)

    def __getitem__(self, name: Any) -> V:
        text = name.name if isinstance(name, ModelSymbol) else name
        try:
            return self._values[text]
        except (KeyError, TypeError):
            close = difflib.get_close_matches(str(text), self._values, n=2, cutoff=0.5)
            raise NotEstimated(text, list(self._values), close) from None

    def __contains__(self, name: object) -> bool:
        return (name.name if isinstance(name, ModelSymbol) else name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class NotEstimated(ModelError, KeyError):
    """A name that a fit has no number for."""

    def __init__(self, name: Any, known: list[str], close: list[str]):
        remedy = f"did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else f"it has {', '.join(known[:12])}"
        super().__init__(f"The fit has no number for `{name}`.", remedy=remedy)

    __str__ = Exception.__str__  # a KeyError shows the repr of its argument

"""Declared facts and settings as data: numbers, text, tuples, expressions and arrays, each distinguishable again.

What JSON has is itself; anything else is an object with one key that says what it is: `{"tuple": [...]}`,
`{"number": "inf"}`, `{"expression": ...}`, `{"guess": ...}`, `{"array": name}`, `{"object": {...}}`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import sympy as sp

from symdeq._errors import UnsupportedError
from symdeq.model import Guess
from symdeq.saving.fields import checked, damaged

_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
# As deep as settings are nested by anybody.
_DEEPEST = 40


def to_data(
    value: Any,
    expression: Callable[[sp.Basic], Any],
    array: Callable[[Any], Any] | None = None,
    of: str = "a declaration",
) -> Any:
    """A value as data.

    Arguments:

    - `value`: `None`, truth values, numbers, text, expressions, guesses, arrays, and lists, tuples and dictionaries (by
        text) of all those.
    - `expression`: an expression as data.
    - `array`: an array as data, or `None` (default) where none may stand.
    - `of`: named in the error.

    Raises `UnsupportedError` for anything else.
    """

    def inner(value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise UnsupportedError(f"{_sentence(of)} is nested too deeply to be saved.")
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"number": str(float(value))}
        if isinstance(value, Guess):
            return {"guess": expression(value.value)}
        if isinstance(value, sp.Basic):
            return {"expression": expression(value)}
        if isinstance(value, list):
            return [inner(element, depth + 1) for element in value]
        if isinstance(value, tuple) and type(value) is tuple:
            return {"tuple": [inner(element, depth + 1) for element in value]}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"object": {key: inner(element, depth + 1) for key, element in value.items()}}
        if array is not None and isinstance(value, np.ndarray | np.generic | jax.Array):
            return {"array": array(value)}
        raise UnsupportedError(
            f"{_sentence(of)} contains a {type(value).__name__}, which cannot be saved: {value!r:.80}.",
            remedy="use numbers, text, expressions, arrays, and lists, tuples and dictionaries of those",
        )

    return inner(value, 0)


def from_data(
    data: Any,
    expression: Callable[[Any], sp.Basic],
    array: Callable[[Any], Any] | None = None,
    of: str = "a declaration",
) -> Any:
    """The value of `to_data`. Raises `ModelError` for data that it does not give."""

    def inner(data: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise damaged(f"{of} is nested too deeply")
        if isinstance(data, list):
            return [inner(element, depth + 1) for element in data]
        if not isinstance(data, dict):
            return data
        if len(data) != 1:
            raise damaged(f"{of} contains an object with {len(data)} keys")
        [(kind, content)] = data.items()
        if kind == "number" and isinstance(content, str) and content in _SPECIAL:
            return _SPECIAL[content]
        if kind == "guess":
            return Guess(checked_expression(expression(content)))
        if kind == "expression":
            return expression(content)
        if kind == "tuple":
            return tuple(inner(element, depth + 1) for element in checked(content, list, f"a tuple of {of}"))
        if kind == "object":
            return {key: inner(value, depth + 1) for key, value in checked(content, dict, f"an object of {of}").items()}
        if kind == "array" and array is not None:
            return array(content)
        raise damaged(f"{of} contains something of the unknown kind {kind[:40]!r}")

    def checked_expression(value: sp.Basic) -> sp.Expr:
        if not isinstance(value, sp.Expr):
            raise damaged(f"a guess of {of} is no expression")
        return value

    return inner(data, 0)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]

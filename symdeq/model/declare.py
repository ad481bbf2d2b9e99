"""Declaring symbols: names, initial values, bounds and units are checked where they are given."""

from __future__ import annotations

import keyword
import math
import numbers
import re
from typing import Any

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.blocks import Numbers
from symdeq.model.functions import unsupported
from symdeq.model.symbols import Guess, Parameter, Scale, State
from symdeq.model.values import finite, number_or_expression

_NAME = re.compile(r"[^\W\d]\w*\Z")


def state(name: str, initial: Any = None, *, shape: Any = (), unit: str | None = None, description: str = "") -> State:
    """Declare one unknown function of time.

    Arguments:

    - `name`: letters, digits and underscores; it is how results, prints and errors name it.
    - `initial`: the value at `t0`: a number, an expression in parameters, `sd.guess(v)` where the equations determine
        it, or `None` (default) where the equations determine it or `y0=` will give it. For a vector one value for
        all its elements, or a sequence of numbers.
    - `shape`: `()` (default) for a number, `(n,)` for a vector of n, which stays whole: operations and functions act on
        it element by element, networks are called with it, and `h[0]` is one of its numbers.
    - `unit`: such as `"mol/L"`, or `None` (default): unchecked.
    - `description`: one line of what it is.

    Returns a `State`, a SymPy symbol. Raises `ModelError` for a bad name, value or unit.
    """
    check_name(name)
    shape = _checked_shape(name, shape)
    if initial is not None and not isinstance(initial, Guess):
        initial = initial_value(initial, f"the initial value of `{name}`", shape)
    check_initial_value(name, initial)
    facts = _given(
        initial=initial, shape=shape or None, unit=_checked_unit(name, unit), description=description or None
    )
    return State(name, **facts).declared_now()  # pyright: ignore[reportReturnType]


def states(**initial: Any) -> tuple[State, ...]:
    """Declare several states: `x, y = sd.states(x=1.0, y=a/2)`; see `state` for what an initial value may be.

    Returns the states in the order written, always as a tuple.
    """
    return tuple(state(name, value) for name, value in initial.items())


def parameter(
    name: str,
    value: Any = None,
    *,
    bounds: Any = None,
    scale: Scale = "linear",
    unit: str | None = None,
    description: str = "",
) -> Parameter:
    """Declare one constant.

    Arguments:

    - `name`: as in `state`.
    - `value`: the default value, a finite number; `None` (default) if it must be given by `model.replace` before
        solving.
    - `bounds`: a pair, lowest and highest value in a fit; `None` at either end, or as a whole (default), is unbounded.
        Solving does not enforce them; a default value outside them is an error.
    - `scale`: `"linear"` (default) or `"log"`: the coordinate in which a fit searches; `"log"` needs positive values.
    - `unit`, `description`: as in `state`.

    Returns a `Parameter`, a SymPy symbol. Raises `ModelError` for a value outside its bounds, a log scale that reaches
    zero, or a bad unit.
    """
    check_name(name)
    number = None if value is None else finite(value, f"the value of parameter `{name}`")
    if scale not in ("linear", "log"):
        raise ModelError(f'The scale of parameter `{name}` must be "linear" or "log", not {scale!r}.')
    limits = None if bounds is None else _checked_bounds(name, number, bounds)
    if scale == "log" and not _fits_log_scale(number, limits):
        raise ModelError(
            f"Parameter `{name}` has a logarithmic scale but a value or bounds that are not positive.",
            remedy='give a positive value and bounds, or scale="linear"',
        )
    facts = _given(
        value=number,
        bounds=limits,
        scale=None if scale == "linear" else scale,
        unit=_checked_unit(name, unit),
        description=description or None,
    )
    return Parameter(name, **facts).declared_now()  # pyright: ignore[reportReturnType]


def parameters(**values: Any) -> tuple[Parameter, ...]:
    """Declare several parameters: `a, b = sd.parameters(a=1.5, b=1.0)`; returns a tuple in that order."""
    return tuple(parameter(name, value) for name, value in values.items())


def _given(**facts: Any) -> dict[str, Any]:
    return {field: value for field, value in facts.items() if value is not None}


def initial_value(value: Any, role: str, shape: tuple[int, ...]) -> sp.Expr:
    """An initial value as an expression, or for a vector as a tuple of numbers."""
    if not shape or isinstance(value, sp.Expr) or not hasattr(value, "__len__") or isinstance(value, str):
        return number_or_expression(value, role)
    if len(value) != shape[0]:
        raise ModelError(
            f"{role[0].upper()}{role[1:]} has {len(value)} elements, but the shape is {shape}.",
            remedy=f"give {shape[0]} numbers, or one for all",
        )
    return Numbers(*(sp.Float(finite(v, f"element {i} of {role}")) for i, v in enumerate(value)))


def _checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, numbers.Integral) and not isinstance(shape, bool) else shape
    is_sizes = isinstance(sizes, tuple | list) and all(
        isinstance(n, numbers.Integral) and not isinstance(n, bool) and int(n) > 0 for n in sizes
    )
    if not is_sizes or len(sizes) > 1:
        raise ModelError(
            f"The shape of `{name}` must be () or (n,), not {shape!r}.",
            remedy="a state is a number or a vector; reshape matrices into vectors",
        )
    return tuple(int(n) for n in sizes)


def check_name(name: str) -> None:
    """Raise `ModelError` unless a symbol may be named so."""
    if not isinstance(name, str) or not _NAME.match(name) or keyword.iskeyword(name):
        raise ModelError(
            f"{name!r} cannot be the name of a symbol.",
            remedy="use letters, digits and underscores, starting with a letter, and no Python keyword",
        )
    if name == "t":
        raise ModelError("`t` is the name of time.", remedy="use `from symdeq import t`, or another name")


def check_initial_value(name: str, value: sp.Expr | Guess | None) -> None:
    """Raise `ModelError` for an initial value that is more than numbers, parameters and functions that JAX has."""
    if value is None:
        return
    expression = value.value if isinstance(value, Guess) else value
    where = f"{name}(t0) = {expression}"
    for symbol in sorted(expression.free_symbols, key=str):
        if not isinstance(symbol, Parameter):
            raise ModelError(
                f"The initial value of `{name}` uses `{symbol}`, which is not a parameter.",
                where=where,
                remedy="an initial value may contain numbers and parameters only",
            )
    for phrase in unsupported(expression):
        raise UnsupportedError(
            f"The initial value of `{name}` contains {phrase}, which has no equivalent in JAX.",
            where=where,
            remedy="rewrite it by functions of symdeq.model.functions.SUPPORTED",
        )


def _checked_bounds(name: str, value: float | None, bounds: Any) -> tuple[float, float]:
    if isinstance(bounds, str) or not hasattr(bounds, "__len__") or len(bounds) != 2:
        raise ModelError(f"The bounds of parameter `{name}` must be a pair (low, high), not {bounds!r}.")
    low, high = (_bound(name, bound, otherwise) for bound, otherwise in zip(bounds, (-math.inf, math.inf), strict=True))
    if not low < high:
        raise ModelError(f"The bounds of parameter `{name}` are empty: {low} is not below {high}.")
    if value is not None and not low <= value <= high:
        raise ModelError(
            f"Parameter `{name}` has the value {value:g}, outside its bounds {low:g} to {high:g}.",
            remedy="widen the bounds or change the value",
        )
    return low, high


def _fits_log_scale(value: float | None, limits: tuple[float, float] | None) -> bool:
    low, high = limits or (0.0, math.inf)
    return (value is None or value > 0) and high > 0 and (low >= 0 or math.isinf(low))


def _bound(name: str, bound: Any, otherwise: float) -> float:
    if bound is None or (isinstance(bound, float) and math.isinf(bound)):
        return otherwise if bound is None else bound
    return finite(bound, f"a bound of parameter `{name}`")


def _checked_unit(name: str, unit: Any) -> str | None:
    if unit is not None:
        from symdeq.model.units import (
            parse_unit,
        )  # here, because most models have no units and SymPy's are slow to import

        if not isinstance(unit, str):
            raise ModelError(f"The unit of `{name}` must be text, not {unit!r}.", remedy='write it as "mol/L"')
        parse_unit(unit, name)
    return unit

"""Poisson processes: `D(N)` in an equation makes a state jump, by a size that may be drawn anew for every jump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.declare import check_name
from symdeq.model.symbols import ModelSymbol, Parameter, State
from symdeq.model.values import number_or_expression

Distribution = Literal["normal", "uniform", "exponential"]
_DISTRIBUTIONS = ("normal", "uniform", "exponential")


class Poisson(ModelSymbol):
    """A Poisson process: it counts jumps, which come at a rate. Only its derivative `D(N)` stands in equations."""

    __slots__ = ()

    @property
    def rate(self) -> sp.Expr:
        return self.fact("rate")


class Mark(ModelSymbol):
    """A random number that every jump of a process draws anew."""

    __slots__ = ()

    @property
    def process(self) -> Poisson:
        return self.fact("process")

    @property
    def distribution(self) -> Distribution:
        return self.fact("distribution")


class Pulses(ModelSymbol):
    """The derivative of a Poisson process with respect to time: a pulse at each jump; made by `D`."""

    __slots__ = ()

    def __new__(cls, name: str | None = None, *, process: Poisson) -> Pulses:
        del name  # follows from the process; accepted so that all symbols are rebuilt alike
        return super().__new__(cls, f"D({process.name})", process=process)  # pyright: ignore[reportReturnType]

    @property
    def process(self) -> Poisson:
        return self.fact("process")


@dataclass(frozen=True)
class Jump:
    """What one Poisson process does: `entries` are states and by how much a jump changes them."""

    process: Poisson
    rate: sp.Expr
    marks: tuple[Mark, ...]
    entries: tuple[tuple[State, sp.Expr], ...]


def poisson(name: str, rate: Any) -> Poisson:
    """Declare a Poisson process.

    Arguments:

    - `name`: its name.
    - `rate`: jumps per unit of time, a number or an expression of parameters.

    Returns a symbol. In equations `D(N)` stands for its jumps, linearly: `Eq(D(x), a*x + c*D(N))` is
    dx = a x dt + c dN, where `c` is what a jump adds to x: an expression of the states just before it, of parameters,
    `t`, and of marks, which make it a compound Poisson process. Raises `ModelError` for what is no name, and a rate
    below zero.
    """
    check_name(name)
    value = number_or_expression(rate, f"the rate of `{name}`")
    for symbol in sorted(value.free_symbols, key=str):
        if not isinstance(symbol, Parameter):
            raise UnsupportedError(
                f"The rate of the Poisson process `{name}` contains `{symbol}`, which is not a parameter.",
                remedy="rates that change with states are reactions: sd.reactions([...]).jumps()",
            )
    if value.is_number and not float(value) >= 0:
        raise ModelError(f"The rate of the Poisson process `{name}` is {value}.", remedy="give a rate of zero or more")
    return Poisson(name, rate=value).declared_now()


def mark(name: str, process: Poisson, distribution: Distribution = "normal") -> Mark:
    """Declare a random number that every jump of a Poisson process draws anew, independent of all others.

    Arguments:

    - `name`: its name.
    - `process`: from `poisson`.
    - `distribution`: `"normal"` (default; mean 0, variance 1), `"uniform"` (between 0 and 1) or `"exponential"`
        (mean 1). Others are functions of these: `sp.exp(m + s*z)` of a normal `z` is log-normal.

    Returns a symbol, for coefficients of `D(process)`. Raises `ModelError` for anything else.
    """
    check_name(name)
    if not isinstance(process, Poisson):
        raise ModelError(f"The mark `{name}` belongs to {process!r}, which is no Poisson process.", remedy="sd.poisson")
    if distribution not in _DISTRIBUTIONS:
        raise ModelError(
            f"The mark `{name}` has the distribution {distribution!r}.",
            remedy=f"use {', '.join(map(repr, _DISTRIBUTIONS))}, and functions of them in the equation",
        )
    return Mark(name, process=process, distribution=distribution).declared_now()

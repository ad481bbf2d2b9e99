"""Brownian motions, and the noise that they bring into a system: `D(W)` stands in equations, linearly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sympy as sp

from symdeq._errors import ModelError
from symdeq.model.declare import check_name
from symdeq.model.symbols import ModelSymbol, State

Calculus = Literal["ito", "stratonovich"]
# What an equation of motion may assume of its noise, from the least to the most general.
NoiseKind = Literal["none", "additive", "diagonal", "commutative", "general"]


class Brownian(ModelSymbol):
    """A Brownian motion: independent increments of variance dt. Only its derivative `D(W)` stands in equations."""

    __slots__ = ()


class WhiteNoise(ModelSymbol):
    """The derivative of a Brownian motion with respect to time; made by `D`."""

    __slots__ = ()

    def __new__(cls, name: str | None = None, *, brownian: Brownian) -> WhiteNoise:
        del name  # follows from the Brownian motion; accepted so that all symbols are rebuilt alike
        return super().__new__(cls, f"D({brownian.name})", brownian=brownian)  # pyright: ignore[reportReturnType]

    @property
    def brownian(self) -> Brownian:
        return self.fact("brownian")


@dataclass(frozen=True)
class Noise:
    """What one Brownian motion does: `entries` are states and the coefficients of `D(brownian)` in their equations."""

    brownian: Brownian
    entries: tuple[tuple[State, sp.Expr], ...]


def brownian(names: str) -> Any:
    """Declare Brownian motions, independent of each other.

    Arguments:

    - `names`: one name, or several with spaces between: `W1, W2 = sd.brownian("W1 W2")`.

    Returns one symbol for one name, else a tuple. In equations `D(W)` stands for white noise, linearly:
    `Eq(D(x), a*x + s*x*D(W))` is dx = a x dt + s x dW. Correlated noise is written by common motions:
    `rho*D(W1) + sqrt(1 - rho**2)*D(W2)`. Raises `ModelError` for what is no name.
    """
    if not isinstance(names, str) or not names.split():
        raise ModelError(f"Brownian motions are declared by their names, not {names!r}.", remedy='sd.brownian("W1 W2")')
    for name in names.split():
        check_name(name)
    made = tuple(Brownian(name).declared_now() for name in names.split())
    return made[0] if len(made) == 1 else made

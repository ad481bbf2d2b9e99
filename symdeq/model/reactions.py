"""One reaction: what it uses, what it makes, and how fast."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy as sp

from symdeq._errors import ModelError
from symdeq.model.blocks import Component, shape_of
from symdeq.model.declare import check_name
from symdeq.model.equations import Origin, _origin, shown
from symdeq.model.symbols import ModelSymbol, Parameter, State, Time
from symdeq.model.values import number_or_expression

Amounts = tuple[tuple[State, int], ...]


@dataclass(frozen=True)
class Reaction:
    """One reaction: what it uses, what it makes, and how fast.

    Arguments:

    - `rate`: the rate constant: a number, a parameter, or an expression of parameters and `t`. The rate law is this
        times the amounts of the reactants (mass action; `ReactionNetwork` has the formulas).
    - `reactants`, `products`: how many of each species, `{A: 2, B: 1}`; default none. A species is a state of one
        number. A catalyst stands on both sides.
    - `name`: its name; default `"R1"`, `"R2"`, ... by its place in the network.
    - `mass_action`: `False` if `rate` is the whole rate law, an expression of states, as `v * S / (K + S)`; default
        `True`.

    Raises `ModelError` for a species that is no such state, for amounts that are not whole numbers from 1 on, for a
    reaction without reactants and products, and for a rate that cannot be right; with the file and line of the call.
    """

    rate: sp.Expr
    reactants: Amounts = ()
    products: Amounts = ()
    name: str | None = None
    mass_action: bool = True
    origins: tuple[Origin, ...] = ()

    if TYPE_CHECKING:  # what a user may hand over; the fields hold what was made of it

        def __init__(
            self,
            rate: Any,
            reactants: Mapping[State, int] | Amounts = (),
            products: Mapping[State, int] | Amounts = (),
            name: str | None = None,
            mass_action: bool = True,
            origins: tuple[Origin, ...] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        # The frame above is the generated __init__, the one above that the call.
        origins = self.origins or (_origin(sys._getframe(2)),)
        object.__setattr__(self, "origins", origins)
        try:
            if self.name is not None:
                check_name(self.name)
            object.__setattr__(self, "reactants", _checked_amounts(self.reactants, "reactants"))
            object.__setattr__(self, "products", _checked_amounts(self.products, "products"))
            object.__setattr__(self, "rate", number_or_expression(self.rate, "the rate of a reaction"))
            if not self.reactants and not self.products:
                raise ModelError("A reaction has neither reactants nor products.", remedy="Reaction(k, {A: 1}, {B: 1})")
            _check_rate(self)
        except ModelError as error:
            where = error.where or f"Reaction at {origins[0]}: {origins[0].text}"
            raise type(error)(error.what, where=where, remedy=error.remedy) from None

    @property
    def species(self) -> tuple[State, ...]:
        """What it uses or makes, or has in its rate, in the order of declaration."""
        found = {s for s in self.rate.free_symbols if isinstance(s, State)}
        found |= {s for s, _ in (*self.reactants, *self.products)}
        return tuple(sorted(found, key=lambda s: s.serial))

    def __str__(self) -> str:
        return f"{_side(self.reactants)} -> {_side(self.products)}"

    def __repr__(self) -> str:
        return f"Reaction({shown(self.rate)}: {self})"

    @property
    def located(self) -> str:
        """The reaction with file and line, as errors show it."""
        place = ", ".join(dict.fromkeys(str(origin) for origin in self.origins))
        return f"{f'{self.name}: ' if self.name else ''}{self}    ({place})"


def _checked_amounts(amounts: Any, role: str) -> Amounts:
    pairs = tuple(amounts.items()) if isinstance(amounts, Mapping) else amounts
    if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise ModelError(f"The {role} of a reaction must be {{species: amount}}, not {amounts!r}.", remedy="{A: 2}")
    for s, amount in pairs:
        if isinstance(s, Component) or (isinstance(s, State) and s.shape):
            raise ModelError(f"`{s}` is a vector or a part of one, and no species.", remedy="declare a state a species")
        if not isinstance(s, State):
            raise ModelError(
                f"The {role} of a reaction name {s!r}, which is no state.",
                remedy=f'declare it: {s} = sd.state("{s}", ...)',
            )
        if isinstance(amount, bool) or not isinstance(amount, numbers.Integral) or int(amount) < 1:
            raise ModelError(
                f"The amount of `{s}` among the {role} is {amount!r}; it must be a whole number from 1 on.",
                remedy="multiply the amounts until they are whole, or leave a species out whose amount is 0",
            )
    return tuple((s, int(amount)) for s, amount in pairs)


def _check_rate(reaction: Reaction) -> None:
    rate = reaction.rate
    if rate.is_number and rate.is_negative:
        raise ModelError(f"The rate of a reaction is negative: {shown(rate)}.", remedy="exchange its two sides")
    if shape_of(rate) != ():
        raise ModelError(f"The rate of a reaction is a vector: {shown(rate)}.", remedy="index it: one number a rate")
    for symbol in sorted(rate.free_symbols, key=str):
        if isinstance(symbol, State) and symbol.shape:
            raise ModelError(f"The rate of a reaction uses the vector `{symbol}`.", remedy="use states of one number")
        if isinstance(symbol, State) and reaction.mass_action:
            raise ModelError(
                f"The rate constant of a reaction contains the state `{symbol}`; its reactants come in by themselves.",
                remedy="leave it out, or give the whole rate law with mass_action=False",
            )
        if isinstance(symbol, State | Parameter | Time):
            continue
        if isinstance(symbol, ModelSymbol):
            raise ModelError(f"The rate of a reaction contains `{symbol}`.", remedy="use states, parameters and t")
        raise ModelError(f"`{symbol}` is not declared.", remedy=f'declare it: {symbol} = sd.parameter("{symbol}", ...)')


def _side(amounts: Amounts) -> str:
    return " + ".join(s.name if m == 1 else f"{m} {s.name}" for s, m in amounts) or "0"

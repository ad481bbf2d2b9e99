"""Delays: `delay(x, tau)` stands for x(t - tau) in equations, and the history says what x was before the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.blocks import SERIAL, Network, NetworkOutputs, NetworkValue, shape_of
from symdeq.model.delayed import DelayedValue as DelayedValue
from symdeq.model.equations import Equation, shown
from symdeq.model.noise import Brownian, WhiteNoise
from symdeq.model.poisson import Mark, Poisson, Pulses
from symdeq.model.symbols import ModelSymbol, Parameter, State, Time, TimeDerivative, t
from symdeq.model.values import number_or_expression

if TYPE_CHECKING:
    from symdeq.model.system import System

# What a lag depends on: parameters only, on time too, or on states.
LagKind = Literal["constant", "time", "state"]


class Lagged(ModelSymbol):
    """One state at one earlier time, after `lower_delays`; equal to another of the same state and lag."""

    __slots__ = ()

    _iterable = False

    def __new__(cls, name: str | None = None, *, state: State, lag: sp.Expr) -> Lagged:
        del name  # follows from the rest; accepted so that all symbols are rebuilt alike
        inside = f"({shown(lag)})" if isinstance(lag, sp.Add) else shown(lag)
        return super().__new__(cls, f"{state.name}(t - {inside})", state=state, lag=lag)  # pyright: ignore

    @property
    def state(self) -> State:
        return self.fact("state")

    @property
    def lag(self) -> sp.Expr:
        """The lag as it was written, by which a delayed value is known; `Lag.expression` is what is computed."""
        return self.fact("lag")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.state.shape

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self.state.size


@dataclass(frozen=True)
class Lag:
    """One slot of the history: how far an equation looks back, and which states it looks up there."""

    expression: sp.Expr
    lagged: tuple[Lagged, ...]


@dataclass(frozen=True, eq=False)
class Samples:
    """A history as data; `compile` makes a function of it."""

    times: np.ndarray
    values: np.ndarray


def delay(expression: Any, tau: Any) -> Any:
    """The value of an expression a lag ago: `delay(x, tau)` is x(t - tau).

    Arguments:

    - `expression`: a state, or an expression of states, parameters and `t`, each of which is taken at the earlier time;
        a derivative too, if a higher one of the same state stands in the equations.
    - `tau`: the lag, zero or more: a number, or an expression of parameters, `t`, states and networks.

    Returns a SymPy expression. What states were before the start says `System(..., history=...)`. Raises `ModelError`
    for a lag below zero, and for what is no expression.
    """
    value, lag = number_or_expression(expression, "what is delayed"), number_or_expression(tau, "the lag of a delay")
    if lag.is_number and float(lag) < 0:
        raise ModelError(f"delay({value}, {lag}) asks for the future.", remedy="give a lag of zero or more")
    if shape_of(lag):
        raise ModelError(f"The lag in delay({value}, {lag}) is a vector.", remedy="give one number: index it")
    for symbol in sorted(value.free_symbols | lag.free_symbols, key=str):
        if isinstance(symbol, Brownian | WhiteNoise | Poisson | Pulses | Mark):
            raise UnsupportedError(f"delay({value}, {lag}) contains noise, `{symbol}`.", remedy="delay the state")
    if lag.has(DelayedValue):
        raise UnsupportedError(
            f"The lag in delay({value}, {lag}) depends on delayed values.",
            remedy="write a lag of the present states, of `t` and of parameters",
        )
    moving = any(not isinstance(s, Parameter) for s in value.free_symbols)
    return value if lag == 0 or not moving else DelayedValue(value, lag)


def delayed_in(expression: sp.Basic) -> list[DelayedValue]:
    """The delayed values in an expression, in order."""
    return sorted(expression.atoms(DelayedValue), key=sp.default_sort_key) if expression.has(DelayedValue) else []


def histories(given: Any) -> tuple[Equation, ...]:
    """The argument `history` of a `System` as equations `state = expression in t`."""
    if not isinstance(given, Mapping):
        given = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else given
        if isinstance(given, tuple) and all(isinstance(e, Equation) for e in given):
            return given
        raise ModelError(
            f"`history` of a System must be a dictionary {{state: value}}, not {given!r}.",
            remedy="history={x: 1.0}, {x: sp.cos(t)} or {x: (times, values)}",
        )
    for symbol in given:
        _check_key(symbol)
    return tuple(Equation(*_history(symbol, value)) for symbol, value in given.items())


def _check_key(symbol: Any) -> None:
    if not isinstance(symbol, State | TimeDerivative):
        raise ModelError(
            f"`history` has the key {symbol!r}, which is neither a state nor a derivative of one.",
            remedy="use the symbols as keys: {x: 1.0}",
        )


def _history(symbol: Any, value: Any) -> tuple[Any, sp.Expr]:
    if isinstance(value, tuple | list) and len(value) == 2 and not isinstance(value[0], sp.Basic | int | float):
        return symbol, _samples(symbol, *value)
    return symbol, number_or_expression(value, f"the history of `{symbol}`")


def _samples(symbol: Any, times: Any, values: Any) -> sp.Expr:
    """Data as a block that is called with the time."""
    if symbol.shape:
        raise UnsupportedError(
            f"The history of the vector `{symbol}` is given as data.",
            remedy="give an expression in t",
        )
    try:
        ts, xs = np.asarray(times, float), np.asarray(values, float)
    except (TypeError, ValueError):
        raise ModelError(f"The history of `{symbol}` is no data.", remedy="give (times, values), two arrays") from None
    if ts.ndim != 1 or ts.shape != xs.shape or len(ts) < 2:
        raise ModelError(
            f"The history of `{symbol}` has times of shape {ts.shape} and values of shape {xs.shape}.",
            remedy="give two arrays of one length, two or more",
        )
    if not (np.isfinite(ts).all() and np.isfinite(xs).all() and (np.diff(ts) > 0).all()):
        raise ModelError(
            f"The history of `{symbol}` has times that do not grow, or numbers that are not finite.",
            remedy="sort the times, and remove what is missing",
        )
    name = f"{symbol.name}_history".replace("D(", "D_").replace(")", "")
    network = Network(name, 1, next(SERIAL), Samples(ts, xs))
    whole = NetworkOutputs(network, -1, (), t)
    return NetworkValue(network, 0, whole.along, t)


def check_delays(system: System) -> None:
    """Raise `ModelError` for what is delayed and must not be, and for histories without a use."""
    written = [
        (node, e) for e in (*system.equations, *system.observed) for side in (e.lhs, e.rhs) for node in delayed_in(side)
    ]
    _check_histories(system, bool(written))
    if system.subsystems:  # whose equations may hold the higher derivatives; looked at once they are merged
        return
    highest: dict[State, int] = {}
    for equation in (*system.equations, *system.observed):
        for side in (equation.lhs, equation.rhs):
            for symbol in side.xreplace({node: sp.Integer(0) for node in delayed_in(side)}).free_symbols:
                if isinstance(symbol, TimeDerivative):
                    highest[symbol.state] = max(symbol.order, highest.get(symbol.state, 0))
    for node, equation in written:
        for symbol in sorted(node.free_symbols, key=str):
            if isinstance(symbol, TimeDerivative) and symbol.order >= highest.get(symbol.state, 0):
                raise UnsupportedError(
                    f"`{node}` delays the highest derivative of `{symbol.state}`: the equation is neutral.",
                    where=equation.located,
                    remedy="delay states and lower derivatives only",
                )


def _check_histories(system: System, has_delays: bool) -> None:
    if system.history and not has_delays and not system.subsystems:
        raise ModelError(
            f"System `{system.name}` has a history and no delay.", remedy="write sd.delay(x, tau), or leave it out"
        )
    prefixes = tuple(f"{part.name}." for part in system.subsystems)
    known = {s for s in system.states if not isinstance(s, TimeDerivative)}
    for equation in system.history:
        _check_key(equation.lhs)
        state = equation.lhs.state if isinstance(equation.lhs, TimeDerivative) else equation.lhs
        if state not in known and not (prefixes and state.name.startswith(prefixes)):  # pyright: ignore
            raise ModelError(
                f"`history` gives values for `{equation.lhs}`, but no equation contains `{state}`.",
                remedy="remove it, or use the state that the equations use",
            )
        for symbol in sorted(equation.rhs.free_symbols, key=str):
            if not isinstance(symbol, Parameter | Time) or equation.rhs.has(DelayedValue):
                raise ModelError(
                    f"The history of `{equation.lhs}` contains `{symbol}`, which is neither a parameter nor `t`.",
                    where=f"{equation.lhs}(t) = {shown(equation.rhs)} before the start",
                    remedy="write the history as an expression of `t` and of parameters",
                )

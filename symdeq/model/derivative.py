"""`D`: derivatives with respect to time, by the chain rule, and white noise as that of a Brownian motion."""

from __future__ import annotations

import numbers
from typing import Any

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.blocks import Component
from symdeq.model.delayed import DelayedValue
from symdeq.model.delays import Lagged
from symdeq.model.noise import Brownian, WhiteNoise
from symdeq.model.poisson import Mark, Poisson, Pulses
from symdeq.model.symbols import Parameter, State, Time, TimeDerivative, replaced, t
from symdeq.model.values import number_or_expression


def D(expression: Any, order: int = 1) -> sp.Expr:
    """The derivative with respect to time.

    Arguments:

    - `expression`: a state, a derivative, or any expression of states, parameters and `t`; a product or a function is
        differentiated by the chain rule.
    - `order`: how many times, at least 1; default 1.

    Returns a SymPy expression. `D(D(x))` is `D(x, 2)`; the derivative of a parameter is 0, that of `t` is 1.
    """
    if isinstance(order, bool) or not isinstance(order, numbers.Integral) or order < 1:
        raise ModelError(
            f"The order of a derivative must be a whole number from 1 on, not {order!r}.",
            remedy="D(x) is the first derivative, D(x, 2) the second",
        )
    result = number_or_expression(expression, "the argument of D")
    for _ in range(int(order)):
        result = total_derivative(result)
    return result


def total_derivative(expression: sp.Expr) -> sp.Expr:
    """The first derivative with respect to time, by the chain rule: what `D` applies once an order."""
    if isinstance(expression, State):
        return TimeDerivative(state=expression, order=1)
    if isinstance(expression, TimeDerivative):
        return TimeDerivative(state=expression.state, order=expression.order + 1)
    if isinstance(expression, Brownian):
        return WhiteNoise(brownian=expression)
    if isinstance(expression, Poisson):
        return Pulses(process=expression)
    _check_no_noise(expression)
    _check_no_delay(expression)
    # One number of a vector is a variable of its own: its derivative is that number of the vector's derivative.
    numbers = {part: sp.Dummy(real=True) for part in sorted(expression.atoms(Component), key=str)}
    expression = replaced(expression, numbers)
    back = {dummy: part for part, dummy in numbers.items()}
    rates = {dummy: Component(total_derivative(part.vector), part.index) for part, dummy in numbers.items()}
    parts = [sp.diff(expression, t), *(sp.diff(expression, dummy) * rate for dummy, rate in rates.items())]
    for symbol in sorted(expression.free_symbols, key=lambda s: s.name):  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(symbol, State | TimeDerivative):
            parts.append(sp.diff(expression, symbol) * total_derivative(symbol))
        elif not isinstance(symbol, Parameter | Time) and symbol not in back:
            raise ModelError(
                f"`{symbol}` is not declared, so D({expression}) cannot be formed.",
                remedy=f'declare it: {symbol} = sd.state("{symbol}", ...) or sd.parameter("{symbol}", ...)',
            )
    return replaced(sp.Add(*parts), back)


def _check_no_delay(expression: sp.Expr) -> None:
    if expression.has(DelayedValue) or any(isinstance(s, Lagged) for s in expression.free_symbols):
        raise UnsupportedError(
            f"The derivative D({expression}) is a delayed derivative, which makes an equation neutral.",
            remedy="write the derivative out in the equation of that state, or delay D(x) where D(x, 2) stands too",
        )


def _check_no_noise(expression: sp.Expr) -> None:
    for symbol in sorted(expression.free_symbols, key=str):
        if isinstance(symbol, Brownian | WhiteNoise | Poisson | Pulses | Mark):
            raise ModelError(
                f"D({expression}) has no meaning with the random `{symbol}` in it: the chain rule does not hold.",
                remedy="write D(W) of a motion or a Poisson process alone, times its coefficient",
            )

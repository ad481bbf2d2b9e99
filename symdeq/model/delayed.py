"""What stands for an expression at an earlier time, as it is written in equations."""

from __future__ import annotations

from typing import Any

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.symbols import State, Time


class DelayedValue(sp.Expr):
    """An expression at an earlier time, as written; made by `delay`. The pass `lower_delays` resolves it."""

    is_commutative = True
    is_real = True
    is_extended_real = True
    _iterable = False  # for SymPy, although a delayed vector can be indexed

    def __new__(cls, value: sp.Expr, lag: sp.Expr) -> DelayedValue:
        return sp.Expr.__new__(cls, value, lag)

    def __getitem__(self, index: Any) -> DelayedValue:
        if not isinstance(self.value, State):
            raise ModelError(f"`{self}` has no parts.", remedy="delay a vector that was declared with a shape")
        return DelayedValue(self.value[index], self.lag)

    @property
    def value(self) -> sp.Expr:
        return self.args[0]  # pyright: ignore[reportReturnType]

    @property
    def lag(self) -> sp.Expr:
        return self.args[1]  # pyright: ignore[reportReturnType]

    def _eval_derivative(self, s: Any) -> sp.Expr:
        if s in self.lag.free_symbols or isinstance(s, Time):
            raise UnsupportedError(
                f"The derivative of `{self}` is asked for, which is a delayed derivative.",
                remedy="write the derivative as a state of its own, or the equation without it",
            )
        return sp.Integer(0)

    def _sympystr(self, printer: Any) -> str:
        return f"delay({printer.doprint(self.value)}, {printer.doprint(self.lag)})"

    def _latex(self, printer: Any) -> str:
        inside = printer.doprint(self.value)
        inside = inside if isinstance(self.value, sp.Symbol) else rf"\left({inside}\right)"
        return rf"{inside}\left(t - {printer.parenthesize(self.lag, 40)}\right)"

"""The operations that an expression in a file may consist of, each with what it takes and how it is put together.

They are those that equations may contain. Nothing else is ever looked up by a name from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import And, Boolean, Not, Or, Xor

from symdeq._errors import ModelError
from symdeq.model import Component, DelayedValue, Network, NetworkOutputs, NetworkValue, Numbers, delay, shape_of
from symdeq.model.functions import BLOCKS, SUPPORTED
from symdeq.saving.fields import damaged


@dataclass(frozen=True)
class Operation:
    """One kind of node.

    - `kind`: its class.
    - `takes`: the kinds of its arguments; the last one stands for all further arguments.
    - `fewest`: how many arguments it has at least.
    - `make`: from arguments to the node.
    """

    kind: type
    takes: tuple[Any, ...]
    fewest: int
    make: Callable[..., Any]

    def __call__(self, arguments: Sequence[sp.Basic]) -> sp.Basic:
        """The node of these arguments, not evaluated."""
        name = self.kind.__name__
        if len(arguments) < self.fewest:
            raise damaged(f"the operation `{name}` has {len(arguments)} arguments")
        for i, argument in enumerate(arguments):
            if not isinstance(argument, self.takes[min(i, len(self.takes) - 1)]):
                raise damaged(f"an argument of the operation `{name}` is a `{type(argument).__name__}`")
        try:
            return self.make(*arguments)
        except ModelError:
            raise
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            raise damaged(f"the operation `{name}` cannot have these {len(arguments)} arguments") from None


def _operation(kind: type) -> Operation:
    # Those that are always evaluated come out as they went in: what is in a file was evaluated once.
    evaluated = kind in (And, Or, Xor, ExprCondPair, sp.Tuple) or kind in BLOCKS
    takes, fewest = _TAKES.get(kind, ((sp.Expr,), 1))
    make = _CHECKED.get(kind, kind if evaluated else _unevaluated(kind))
    return Operation(kind=kind, takes=takes, fewest=fewest, make=make)


def _unevaluated(kind: Any) -> Callable[..., Any]:
    return lambda *arguments: kind(*arguments, evaluate=False)


def _component(vector: sp.Expr, index: sp.Integer) -> Component:
    shape = shape_of(vector)
    if len(shape) != 1 or not 0 <= index < shape[0]:
        raise damaged(f"`{vector}` has no number {index}")
    return Component(vector, index)


def _network_value(network: Network, index: sp.Integer, along: sp.Tuple, *inputs: sp.Expr) -> NetworkValue:
    if index < -1 or not all(isinstance(i, sp.Integer) and 0 <= i < len(inputs) for i in along):
        raise damaged(f"the network `{network}` has no output {index} or no inputs {along}")
    return NetworkValue(network, index, along, *inputs)


def _delayed(value: sp.Expr, lag: sp.Expr) -> DelayedValue:
    made = delay(value, lag)
    if not isinstance(made, DelayedValue):
        raise damaged(f"`{value}` is delayed by {lag}")
    return made


# Where a class leaves it to others to check positions.
_CHECKED: dict[type, Callable[..., Any]] = {
    Component: _component,
    NetworkValue: _network_value,
    NetworkOutputs: _network_value,
    DelayedValue: _delayed,
}
_TAKES: dict[type, tuple[tuple[Any, ...], int]] = {
    **dict.fromkeys((sp.Add, sp.Mul, sp.Pow, sp.Max, sp.Min, sp.Gt, sp.Ge, sp.Lt, sp.Le), ((sp.Expr,), 2)),
    **dict.fromkeys((sp.Eq, sp.Ne), (((sp.Expr, Boolean),), 2)),
    **dict.fromkeys((And, Or, Xor), ((Boolean,), 2)),
    Not: ((Boolean,), 1),
    sp.ITE: ((Boolean,), 3),
    sp.Piecewise: ((ExprCondPair,), 1),
    ExprCondPair: ((sp.Expr, Boolean), 2),
    NetworkValue: ((Network, sp.Integer, sp.Tuple, sp.Expr), 4),
    NetworkOutputs: ((Network, sp.Integer, sp.Tuple, sp.Expr), 4),
    Component: ((sp.Expr, sp.Integer), 2),
    Numbers: ((sp.Number,), 1),
    DelayedValue: ((sp.Expr,), 2),
    sp.Tuple: ((sp.Expr,), 0),
}
OPERATIONS: dict[str, Operation] = {
    kind.__name__: _operation(kind) for kind in sorted({*SUPPORTED, *BLOCKS, sp.Tuple}, key=lambda k: k.__name__)
}
CONSTANTS: dict[str, sp.Basic] = {
    "pi": sp.pi,
    "E": sp.E,
    "EulerGamma": sp.EulerGamma,
    "GoldenRatio": sp.GoldenRatio,
    "TribonacciConstant": sp.TribonacciConstant,
    "Catalan": sp.Catalan,
}

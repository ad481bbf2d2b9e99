"""A compiled system as one hashable record, and the way from what users write to what the compiler kept."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import sympy as sp
from jaxtyping import Array

from symdeq import codegen, passes
from symdeq._errors import ModelError
from symdeq.model import Equation, Lagged, ModelSymbol, Network, Neural, State, System, TimeDerivative, networks_in, t
from symdeq.model.derivative import total_derivative


@dataclasses.dataclass(frozen=True, eq=False)
class Compiled:
    """A system in its final form with its functions; compared by both, so that an equal model never recompiles."""

    declared: System
    system: System
    programs: codegen.Programs
    functions: codegen.Functions

    @cached_property
    def _hash(self) -> int:
        return hash((self.functions.generated.text, self.system))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Compiled):
            return NotImplemented
        return self._hash == other._hash and self.functions == other.functions and self.system == other.system

    @cached_property
    def positions(self) -> dict[str, tuple[str, int]]:
        """By name: what a symbol is, and where it stands."""
        return {
            **{s.name: ("observed", i) for i, s in enumerate(self.programs.observed)},
            **{s.name: ("parameter", i) for i, s in enumerate(self.system.params)},
            **{s.name: ("state", i) for i, s in enumerate(self.system.states)},
            **{n.name: ("network", i) for i, n in enumerate(self.system.networks)},
        }

    def position(self, name: Any) -> tuple[str, int]:
        """What a symbol or name is, "state", "parameter", "observed" or "network", and its position among those."""
        if isinstance(name, Neural):
            name = name.name
        if isinstance(name, TimeDerivative):
            name = self._lowered(name)
        text = text_of(name)
        found = self.positions.get(text)
        if found is None:
            close = difflib.get_close_matches(text, self.positions, n=3, cutoff=0.5)
            known = [s.name for s in (*self.system.states, *self.system.params)]
            shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise ModelError(
                f"`{self.system.name}` has no symbol `{text}`.",
                remedy=f"did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else f"it has {shown}",
            )
        return found

    def expression(self, quantity: Any) -> sp.Expr:
        """A quantity as an expression of symbols that the final system has."""
        if isinstance(quantity, str):
            if quantity == "t":
                return t
            kind, i = self.position(quantity)
            if kind == "network":
                raise ModelError(f"`{quantity}` is a network and no quantity.", remedy="give one of its outputs")
            return self._symbol(kind, i)
        if isinstance(quantity, int | float) and not isinstance(quantity, bool):
            quantity = sp.Float(quantity)
        if isinstance(quantity, Equation):
            raise ModelError(
                f"An equation is no quantity: {quantity}.", remedy="give one of its sides, or their difference"
            )
        if not isinstance(quantity, sp.Expr):
            raise ModelError(
                f"{quantity!r} is no quantity of `{self.system.name}`.",
                remedy="give a symbol, its name, or an expression of symbols",
            )
        quantity = passes.resolved(quantity)
        networks = {n.name: n for n in self.system.networks}
        called = {n: networks[n.name] for n in networks_in(quantity) if self.position(n.name)[0] == "network"}
        symbols = {s: self._known(s) for s in sorted(quantity.free_symbols, key=str)}
        return replaced(quantity, {**called, **symbols})

    def _known(self, symbol: sp.Basic) -> sp.Expr:
        if symbol == t:
            return t
        if isinstance(symbol, TimeDerivative):
            return self._derivative(symbol)
        if isinstance(symbol, Lagged):
            return self._lagged(symbol)
        if not isinstance(symbol, ModelSymbol):
            raise ModelError(
                f"`{symbol}` is a plain SymPy symbol, which no model has.",
                remedy="use the symbols that the model was declared with",
            )
        kind, i = self.position(symbol)
        return self._symbol(kind, i)

    def _lagged(self, symbol: Lagged) -> Lagged:
        for lag in self.system.delays:
            if symbol in lag.lagged:
                return symbol
        known = ", ".join(f"`{s}`" for lag in self.system.delays for s in lag.lagged)
        raise ModelError(
            f"`{symbol}` is not among the delayed values of `{self.system.name}`: {known or 'it has none'}.",
            remedy="declare it with the system: observed={'earlier': sd.delay(...)}",
        )

    def _lowered(self, derivative: TimeDerivative) -> Any:
        """The state that the compiler introduced for a derivative of a state."""
        value = self._derivative(derivative)
        if isinstance(value, State):
            return value
        raise ModelError(
            f"`{derivative}` follows from the equations and has no value of its own.",
            remedy="only derivatives below the highest one of a state have initial values",
        )

    def _derivative(self, derivative: TimeDerivative) -> sp.Expr:
        """D(x, k) in terms of the final system: its equation, differentiated k - 1 times."""
        rates: dict[sp.Basic, sp.Basic] = {e.lhs: e.rhs for e in self.system.equations if e.lhs != 0}
        observed: dict[sp.Basic, sp.Expr] = {e.lhs: e.rhs for e in self.system.observed}
        kind, i = self.position(derivative.state)
        expression: sp.Expr = self._symbol(kind, i)
        for k in range(derivative.order):
            expression = total_derivative(_without(observed, expression) if k or kind == "observed" else expression)
            for symbol in sorted(expression.free_symbols, key=str):
                if isinstance(symbol, TimeDerivative) and symbol not in rates:
                    raise ModelError(
                        f"`{symbol}` is the derivative of an algebraic unknown, which the model does not compute.",
                        remedy="write an equation for it",
                    )
            expression = replaced(expression, rates)
        return expression

    def _symbol(self, kind: str, i: int) -> ModelSymbol:
        groups = {"state": self.system.states, "parameter": self.system.params, "observed": self.programs.observed}
        return groups[kind][i]


def text_of(name: Any) -> str:
    """The name of a symbol, or a name as it is."""
    if isinstance(name, sp.Symbol | Network | Neural):
        return name.name
    if isinstance(name, str):
        return name
    raise ModelError(f"{name!r} is neither a symbol nor a name.", remedy="use the symbol, or its name as text")


def replaced(expression: sp.Expr, replacements: Mapping[Any, sp.Basic]) -> sp.Expr:
    """`xreplace` on an expression, which stays one."""
    return expression.xreplace(replacements)  # pyright: ignore[reportReturnType]


def _without(observed: Mapping[sp.Basic, sp.Expr], expression: sp.Expr) -> sp.Expr:
    """An expression with the observed quantities in it replaced by what they stand for."""
    while found := expression.free_symbols & observed.keys():
        expression = replaced(expression, {s: observed[s] for s in found})
    return expression


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """A jitted `function` (ts, ys, p) -> a tuple of arrays, with the delayed values, shape (times, delayed), as a
    fourth argument where it `needs_past`."""

    function: Any
    needs_past: bool


@lru_cache(maxsize=1024)
def evaluator(compiled: Compiled, expressions: tuple[sp.Expr, ...]) -> Evaluator:
    """What computes some expressions along a trajectory."""
    program = codegen.lower_expressions(compiled.system, expressions)
    function = codegen.load_program(codegen.emit_program(program), program.name)
    generated = compiled.functions.generated
    if any(name == "past" for name, _ in program.inputs):
        return Evaluator(_one_by_one(generated, function), needs_past=True)
    if generated.networks or any(state.shape for state in compiled.system.states):
        return Evaluator(_one_by_one(generated, function), needs_past=False)

    @jax.jit
    def evaluate(ts: Array, ys: Array, p: Array) -> tuple[Array, ...]:
        columns = tuple(jnp.moveaxis(ys, -1, 0))
        values = function(ts, columns, tuple(p))
        return tuple(jnp.broadcast_to(jnp.asarray(v, ys.dtype), ts.shape) for v in values)

    return Evaluator(evaluate, needs_past=False)


def _one_by_one(generated: codegen.Generated, function: Any) -> Any:
    """The same with networks, vectors or delays, which have no place for an axis of times."""

    @eqx.filter_jit
    def evaluate(ts: Array, ys: Array, args: Any, past: Any = None) -> tuple[Array, ...]:
        shape = ts.shape
        at = jax.vmap(lambda t, y, past: codegen.called(generated, function, t, y, args, past))
        past = None if past is None else jnp.reshape(past, (-1, past.shape[-1]))
        values = at(jnp.ravel(ts), jnp.reshape(ys, (-1, ys.shape[-1])), past)
        return tuple(jnp.reshape(v, (*shape, *v.shape[1:])).astype(ys.dtype) for v in values)

    return evaluate

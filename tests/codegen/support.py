"""Independent evaluation: SymPy's `lambdify` on NumPy and mpmath, and small systems put together by hand."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import sympy as sp

from symdeq.codegen import Assignment, Program, emit_program, load_program
from symdeq.model import System, t


def substituted(system: System) -> list[Any]:
    """The right-hand sides with the observed quantities substituted: exponential in general, fine for tests."""
    known: dict[sp.Basic, sp.Basic] = {}
    for equation in system.observed:
        known[equation.lhs] = equation.rhs.xreplace(known)
    return [equation.rhs.xreplace(known) for equation in system.equations]


def evaluate(expressions: Sequence[sp.Basic], symbols: Sequence[sp.Symbol], values: Iterable[Any]) -> np.ndarray:
    """Values by mpmath in 30 digits."""
    with mpmath.workdps(30):
        function = sp.lambdify(list(symbols), list(expressions), modules="mpmath")
        return np.array([float(mpmath.re(v)) for v in function(*map(mpmath.mpf, map(float, values)))])


def reference(
    system: System, expressions: Sequence[sp.Basic], time: float, y: Sequence[float], p: Sequence[float]
) -> np.ndarray:
    return evaluate(expressions, [t, *system.states, *system.params], [time, *y, *p])


def scalar_function(expression: sp.Basic, *symbols: sp.Symbol):
    """`expression` as generated code, a function of its symbols."""
    target = sp.Symbol("result", real=True)
    program = Program(
        name="f",
        summary="A test.",
        inputs=tuple((s.name, s) for s in symbols),
        body=(Assignment(target, expression),),
        outputs=(target,),
    )
    function = load_program(emit_program(program), "f")
    return lambda *values: jnp.asarray(function(*values)[0], jnp.result_type(*values, jnp.float32))


def as_arrays(*groups: Iterable[float]) -> tuple[jax.Array, ...]:
    return tuple(jnp.asarray(list(group), jnp.float64) for group in groups)

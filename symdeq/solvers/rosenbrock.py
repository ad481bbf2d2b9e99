"""One step of a Rosenbrock method, and the record of coefficients that makes it a particular method.

Stage s = 1 … S of a step of length h from (t0, y0) of M y' = f(t, y), with J = df/dy there, is

    (M / (h γ) - J) u_s = f(t0 + c_s h, y0 + Σ A_sm u_m) + M Σ C_sm u_m / h + h D_s df/dt,    m < s,

and y1 = y0 + Σ b_m u_m: the form without products by J of Hairer and Wanner, Solving Ordinary Differential Equations
II, section IV.7. The vector field at the end is handed on, so that each stage solves first and then evaluates f for the
next.
"""

import dataclasses
import functools
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from symdeq.solvers.interpolation import StepInterpolation
from symdeq.solvers.layout import combine, layout_of, loop, put
from symdeq.solvers.linearise import linearise
from symdeq.solvers.step import (
    StepInput,
    StepOutput,
    differentiated,
    field_at_start,
    filled_up,
    finish,
    first_field,
    refuse_bad_step,
    unwrap,
)

_Row = tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RosenbrockTableau:
    """The coefficients of a Rosenbrock method with S stages, hashable by value.

    Arguments:

    - `order`, `error_order`: of the solution; the power of h with which the error estimate of one step vanishes.
    - `gamma`: γ.
    - `a`, `c`: A and C, shape (S, S), zero on and above the diagonal.
    - `times`: c_s as fractions of the step, shape (S,).
    - `d`: D, shape (S,), the factors of h df/dt.
    - `b`, `b_error`: the weights of the solution and of the error estimate, shape (S,).
    - `dense`: shape (K, S), the coefficients k of `StepInterpolation` as combinations of the stages.
    - `b_defect`: the weights of an estimate of the dense output's error where the ends of the step are exact, shape
        (S,), if the method needs one. The larger of the two estimates counts.
    """

    order: int
    error_order: int
    gamma: float
    a: tuple[_Row, ...]
    c: tuple[_Row, ...]
    times: _Row
    d: _Row
    b: _Row
    b_error: _Row
    dense: tuple[_Row, ...]
    b_defect: _Row | None = None


def padded(rows: tuple[_Row, ...], stages: int) -> tuple[_Row, ...]:
    """The rows of a lower triangle, filled up with zeros."""
    return tuple((*row, *(0.0,) * (stages - len(row))) for row in rows)


class AbstractRosenbrock(dfx.AbstractAdaptiveSolver):
    """A Rosenbrock method as a diffrax solver; a method is a subclass that names its coefficients.

    The state may be any PyTree of real arrays, the term an `ODETerm`, a `MassTerm`, or a class registered with
    `linearise`.
    """

    tableau: eqx.AbstractClassVar[RosenbrockTableau]
    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar = StepInterpolation

    def order(self, terms: Any) -> int:
        return self.tableau.order

    def error_order(self, terms: Any) -> int:
        return self.tableau.error_order

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> PyTree:
        return first_field(terms, t0, y0, args)

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: PyTree, made_jump: Any) -> Any:
        term, t, h = unwrap(terms, t0, t1)
        f0 = field_at_start(term, t, y0, args, solver_state, made_jump)
        out = rosenbrock_step(self.tableau, StepInput(term=term, t=t, h=h, y=y0, f=f0, args=args))
        return finish(y0, out, out.f)


def rosenbrock_step(tableau: RosenbrockTableau, start: StepInput, coefficients: int | None = None) -> StepOutput:
    """One step.

    Arguments:

    - `coefficients`: of the dense output, at least as many as the method has; zeros fill up.
    """
    return differentiated(functools.partial(_step, tableau, coefficients or len(tableau.dense)), start)


def _step(tableau: RosenbrockTableau, coefficients: int, start: StepInput) -> StepOutput:
    term, t, h, _, _, args = start
    layout, stages = layout_of(start.y), len(tableau.b)
    y0 = layout.vector(start.y)
    h_y = h.astype(y0.dtype)
    # Row s belongs to what follows the solve of stage s: the argument of the next stage, at the end the solution
    # itself.
    rows = np.stack([[*tableau.a[1:], tableau.b], [*tableau.c[1:], (0.0,) * stages]], axis=1)
    times, d = np.array([*tableau.times[1:], 1.0]), np.array([*tableau.d[1:], 0.0])
    local = linearise(term, t, start.y, args)
    shift = 1 / (h_y * tableau.gamma)
    solve = local.factorise(shift)
    drift = None if local.dfdt is None else h_y * layout.vector(local.dfdt)

    def stage(s, carry):
        store, b, _ = carry
        store = put(store, s, layout.vector(solve(layout.state(b))))
        moved, coupled = combine(store, layout.row(rows, s))
        y = y0 + moved
        f = layout.vector(term.vf(t + layout.row(times, s) * h, layout.state(y), args))
        # A division by h, not a product with 1 / h: XLA never duplicates it when it fuses, so the code stays small.
        b = f + layout.vector(local.mass(layout.state(coupled))) / h_y
        return store, b if drift is None else b + layout.row(d, s) * drift, y

    f0 = layout.vector(start.f)
    b = f0 if drift is None else f0 + tableau.d[0] * drift
    store, f, y = loop(stages, stage, (jnp.zeros((stages, *y0.shape), y0.dtype), b, y0))
    estimates = [tableau.b_error] if tableau.b_defect is None else [tableau.b_error, tableau.b_defect]
    combined = combine(store, np.array([*estimates, *tableau.dense]))
    error, dense = combined[0], combined[len(estimates) :]
    if tableau.b_defect is not None:
        error = jnp.maximum(jnp.abs(error), jnp.abs(combined[1]))
    correction = local.correction(shift, layout.state(store[0]), layout.state(b))
    if correction is not None:
        correction = layout.vector(correction)
        error = jnp.maximum(jnp.abs(error), max(map(abs, tableau.b)) * correction)
    y, error = refuse_bad_step(y, error, f, store[0], correction)
    return StepOutput(
        y=layout.state(y),
        error=layout.state(error),
        dense=filled_up(tuple(layout.state(k) for k in dense), coefficients),
        f=layout.state(f),
        rate=local.norm(),
        deviation=jnp.zeros((), y0.dtype),
    )

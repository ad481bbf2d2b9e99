"""One step of a Rosenbrock method, and the record of coefficients that makes it a particular method.

Stage s = 1 … S of a step of length h from (t0, y0) of M y' = f(t, y), with J = df/dy there, is

    (M / (h γ) - J) u_s = f(t0 + c_s h, y0 + Σ A_sm u_m) + M Σ C_sm u_m / h + h D_s df/dt,    m < s,

and y1 = y0 + Σ b_m u_m: the form without products by J of Hairer and Wanner, Solving Ordinary Differential Equations
II, section IV.7. The vector field at the end is handed on, so that each stage solves first and then evaluates f for the
next.
"""

import dataclasses
import functools
import operator
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from symdeq.solvers.interpolation import QuarticInterpolation
from symdeq.solvers.layout import AbstractLayout, Unrolled, fastest_layout, rolled_layout
from symdeq.solvers.linearise import linearise
from symdeq.solvers.step import (
    StepInput,
    StepOutput,
    differentiated_as,
    field_at_start,
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
    - `dense`: shape (3, S), the coefficients k of `QuarticInterpolation` as combinations of the stages.
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
    interpolation_cls: ClassVar = QuarticInterpolation

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


def rosenbrock_step(tableau: RosenbrockTableau, start: StepInput) -> StepOutput:
    """One step, in the layout that is fastest for the state; its derivative is that of the loop over the stages."""
    layout, rolled = fastest_layout(start.y), functools.partial(_step, tableau, rolled_layout(start.y))
    fast = functools.partial(_step, tableau, layout) if isinstance(layout, Unrolled) else rolled
    return differentiated_as(fast, rolled, start)


def _step(tableau: RosenbrockTableau, layout: AbstractLayout, start: StepInput) -> StepOutput:
    term, t, h, _, _, args = start
    y0, stages = layout.vector(start.y), len(tableau.b)
    h_y = h.astype(jax.tree.leaves(y0)[0].dtype)
    # Row s belongs to what follows the solve of stage s: the argument of the next stage, at the end the solution
    # itself.
    rows = np.stack([[*tableau.a[1:], tableau.b], [*tableau.c[1:], (0.0,) * stages]], axis=1)
    times, d = np.array([*tableau.times[1:], 1.0]), np.array([*tableau.d[1:], 0.0])
    local = linearise(term, t, start.y, args)
    shift = 1 / (h_y * tableau.gamma)
    solve = local.factorise(shift)
    drift = None if local.dfdt is None else jax.tree.map(lambda v: h_y * v, layout.vector(local.dfdt))

    def right_side(f, coupled, factor):
        if coupled is not None:
            coupled = layout.vector(local.mass(layout.state(coupled)))
            # A division by h, not a product with 1 / h: XLA never duplicates it when it fuses, so the code stays small.
            f = jax.tree.map(lambda v, q: v + q / h_y, f, coupled)
        if drift is not None and not (isinstance(factor, float) and factor == 0):
            f = jax.tree.map(lambda v, w: v + factor * w, f, drift)
        return f

    def stage(s, carry):
        store, b, _ = carry
        store = layout.put(store, s, layout.vector(solve(layout.state(b))))
        moved, coupled = layout.combine(store, layout.row(rows, s))
        y = y0 if moved is None else jax.tree.map(operator.add, y0, moved)
        f = layout.vector(term.vf(t + layout.row(times, s) * h, layout.state(y), args))
        return store, right_side(f, coupled, layout.row(d, s)), y

    b = right_side(layout.vector(start.f), None, tableau.d[0])
    store, f, y = layout.loop(stages, stage, (layout.empty(stages, y0), b, y0))
    error, *dense = layout.combine(store, np.array([tableau.b_error, *tableau.dense]))
    zero = jax.tree.map(jnp.zeros_like, y0)
    k0, k1, k2 = (layout.state(zero if k is None else k) for k in dense)
    backward_error = local.backward_error(shift, layout.state(store[0]), layout.state(b))
    y, error = refuse_bad_step(y, error, f, backward_error)
    size = jnp.abs(h_y) * local.norm()
    return StepOutput(y=layout.state(y), error=layout.state(error), dense=(k0, k1, k2), f=layout.state(f), size=size)

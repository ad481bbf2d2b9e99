"""One step of an explicit Runge-Kutta method in the shape of a Rosenbrock step, with an estimate of the stiffness.

The method's last stage is the vector field at the end of the step, which is handed on. Stiffness is h |λ|, with |λ|
estimated from two vector fields at the same time and the points where they were taken: Shampine, Stiffness and nonstiff
differential equation solvers II, ACM TOMS 3 (1977) 44-53; Hairer and Wanner, Solving Ordinary Differential Equations
II, section IV.2.
"""

import dataclasses
import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symdeq.solvers.layout import AbstractLayout, Unrolled, fastest_layout, rolled_layout
from symdeq.solvers.step import StepInput, StepOutput, differentiated_as, refuse_bad_step

# Relative to the largest variable; a variable below has no scale of its own.
_NEGLIGIBLE = 1e-9

_Row = tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplicitTableau:
    """The coefficients of an explicit method with S stages, the last of them at the end of the step; hashable by value.

    Arguments:

    - `order`, `error_order`: of the solution; the power of h with which the error estimate of one step vanishes.
    - `a`: shape (S, S), zero on and above the diagonal; its last row holds the weights of the solution.
    - `times`: the stages' times as fractions of the step, shape (S,).
    - `b_error`: the weights of the error estimate, shape (S,).
    - `dense`: shape (3, S), the coefficients k of `QuarticInterpolation` as combinations of h times the stages.
    - `stability`: how far the stability region reaches along the negative real axis.
    """

    order: int
    error_order: int
    a: tuple[_Row, ...]
    times: _Row
    b_error: _Row
    dense: tuple[_Row, ...]
    stability: float

    @property
    def ends_twice(self) -> bool:
        """Whether the last two stages are at the same time, so that they estimate the stiffness at no cost."""
        return self.times[-1] == self.times[-2]


def explicit_step(tableau: ExplicitTableau, autonomous: bool, start: StepInput) -> StepOutput:
    """One step, in the layout that is fastest for the state; its derivative is that of the loop over the stages.

    Arguments:

    - `autonomous`: that f does not depend on t, so that stages at different times may be compared.
    """
    layout = fastest_layout(start.y)
    rolled = functools.partial(_step, tableau, autonomous, rolled_layout(start.y))
    fast = functools.partial(_step, tableau, autonomous, layout) if isinstance(layout, Unrolled) else rolled
    return differentiated_as(fast, rolled, start)


def _step(tableau: ExplicitTableau, autonomous: bool, layout: AbstractLayout, start: StepInput) -> StepOutput:
    term, t, h, _, _, args = start
    y0, stages = layout.vector(start.y), len(tableau.times)
    h_y = h.astype(jax.tree.leaves(y0)[0].dtype)
    rows, times = np.array(tableau.a[1:])[:, None, :], np.array(tableau.times[1:])

    def field(s, y):
        return layout.vector(term.vf(t + layout.row(times, s) * h, layout.state(y), args))

    def after(moved):
        return jax.tree.map(lambda v, w: v + h_y * w, y0, moved)

    def stage(s, carry):
        store, y, _ = carry
        (moved,) = layout.combine(store, layout.row(rows, s))
        y_next = after(moved)
        return layout.put(store, s + 1, field(s, y_next)), y_next, y

    store = layout.put(layout.empty(stages, y0), 0, layout.vector(start.f))
    store, y, y_before = layout.loop(stages - 1, stage, (store, y0, y0))
    f, f_before = store[stages - 1], store[stages - 2]
    error, *dense = (_scaled(h_y, v, y0) for v in layout.combine(store, np.array([tableau.b_error, *tableau.dense])))
    k0, k1, k2 = (layout.state(k) for k in dense)
    if not (tableau.ends_twice or autonomous):
        # The embedded solution is a second point at the end of the step; its vector field costs one evaluation.
        y_before = jax.tree.map(operator.sub, y, error)
        f_before = field(stages - 2, y_before)
    size = jnp.abs(h_y) * _growth(f, f_before, y, y_before, y0)
    y, error = refuse_bad_step(y, error, f)
    return StepOutput(y=layout.state(y), error=layout.state(error), dense=(k0, k1, k2), f=layout.state(f), size=size)


def _scaled(h: Any, v: Any, like: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, like) if v is None else jax.tree.map(lambda w: h * w, v)


def _growth(f: Any, f_before: Any, y: Any, y_before: Any, y0: Any) -> Any:
    """The quotient |f - f'| / |y - y'| in the maximum norm relative to y, which sees even a small stiff variable."""
    f, f_before, y, y_before, y0 = (jnp.stack(jax.tree.leaves(v)) for v in (f, f_before, y, y_before, y0))
    tiny = jnp.finfo(y.dtype).tiny
    weight = jnp.maximum(jnp.abs(y0), jnp.abs(y))
    weight = jnp.maximum(weight, jnp.max(weight) * _NEGLIGIBLE) + tiny
    return jnp.max(jnp.abs(f - f_before) / weight) / jnp.maximum(jnp.max(jnp.abs(y - y_before) / weight), tiny)

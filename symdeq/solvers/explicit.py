"""One step of an explicit Runge-Kutta method in the shape of a Rosenbrock step, with an estimate of the stiffness.

The method's last stage is the vector field at the end of the step, which is handed on. Stiffness is h |λ|, with |λ|
estimated from two vector fields at the same time and the points where they were taken: Shampine, Stiffness and nonstiff
differential equation solvers II, ACM TOMS 3 (1977) 44-53; Hairer and Wanner, Solving Ordinary Differential Equations
II, section IV.2.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from symdeq.solvers.layout import combine, layout_of, loop, put
from symdeq.solvers.step import StepInput, StepOutput, differentiated, filled_up, refuse_bad_step

# Relative to the largest variable; a variable below has no scale of its own.
_NEGLIGIBLE = 1e-9

_Row = tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplicitTableau:
    """The coefficients of an explicit method with S stages, one of them at the end of the step; hashable by value.

    Arguments:

    - `order`, `error_order`: of the solution; the power of h with which the error estimate of one step vanishes.
    - `a`: shape (S, S), zero on and above the diagonal.
    - `times`: the stages' times as fractions of the step, shape (S,).
    - `end`: the stage at the end of the step, whose row of `a` holds the weights of the solution. Those behind it serve
        the dense output alone.
    - `b_error`: the weights of the error estimate e, shape (S,).
    - `b_error_low`: those of an estimate l of lower order, with which the estimate becomes e² / √(e² + l² / 100);
        `None` for e alone.
    - `dense`: shape (K, S), the coefficients k of `StepInterpolation` as combinations of h times the stages.
    - `stability`: how far the stability region reaches along the negative real axis.
    - `edge`, `evidence`: the part of that beyond which a step speaks for stiffness, and how many such steps prove it.
    - `smooth`: a, where a step whose error is ε relative to the solution speaks for it, half as loudly, already beyond
        the part a ε^(1 / (error_order + 2)): at tight tolerances it is the error that a stiff variable causes, long
        before it becomes unstable, which holds the steps.
    """

    order: int
    error_order: int
    a: tuple[_Row, ...]
    times: _Row
    end: int
    b_error: _Row
    dense: tuple[_Row, ...]
    stability: float
    edge: float = 0.75
    evidence: int = 5
    smooth: float = 2.0
    b_error_low: _Row | None = None

    @property
    def ends_twice(self) -> bool:
        """Whether the stage before the end is at the same time, so that the two estimate the stiffness at no cost."""
        return self.times[self.end] == self.times[self.end - 1]


def explicit_step(
    tableau: ExplicitTableau, autonomous: bool, start: StepInput, coefficients: int | None = None
) -> StepOutput:
    """One step.

    Arguments:

    - `autonomous`: that f does not depend on t, so that stages at different times may be compared.
    - `coefficients`: of the dense output, at least as many as the method has; zeros fill up.
    """
    return differentiated(functools.partial(_step, tableau, autonomous, coefficients or len(tableau.dense)), start)


def _step(tableau: ExplicitTableau, autonomous: bool, coefficients: int, start: StepInput) -> StepOutput:
    term, t, h, _, _, args = start
    layout, stages, end = layout_of(start.y), len(tableau.times), tableau.end
    y0 = layout.vector(start.y)
    h_y = h.astype(y0.dtype)
    rows, times = np.array(tableau.a[1:])[:, None, :], np.array(tableau.times[1:])

    def field(s, y):
        return layout.vector(term.vf(t + layout.row(times, s) * h, layout.state(y), args))

    def stage(s, carry):
        store, y, _ = carry
        (moved,) = combine(store, layout.row(rows, s))
        y_next = y0 + h_y * moved
        return put(store, s + 1, field(s, y_next)), y_next, y

    store = put(jnp.zeros((stages, *y0.shape), y0.dtype), 0, layout.vector(start.f))
    store, y, y_before = loop(stages - 1, stage, (store, y0, y0))
    if end < stages - 1:
        y, y_before = (y0 + h_y * moved for moved in combine(store, np.array([tableau.a[end], tableau.a[end - 1]])))
    f, f_before = store[end], store[end - 1]
    low = [] if tableau.b_error_low is None else [tableau.b_error_low]
    error, *others = (h_y * v for v in combine(store, np.array([tableau.b_error, *low, *tableau.dense])))
    if not (tableau.ends_twice or autonomous):
        # The embedded solution is a second point at the end of the step; its vector field costs one evaluation.
        y_before = y - error
        f_before = field(end - 1, y_before)
    if low:
        both = jnp.sqrt(error**2 + others[0] ** 2 / 100)
        error = error * (jnp.abs(error) / jnp.where(both == 0, 1, both))
    weight = _weight(y0, y)
    apart = _largest(y - y_before, weight)
    rate = _largest(f - f_before, weight) / jnp.where(apart == 0, 1, apart)
    deviation = _largest(error, weight)
    y, error = refuse_bad_step(y, lax.stop_gradient(error), f)
    return StepOutput(
        y=layout.state(y),
        error=layout.state(error),
        dense=filled_up(tuple(layout.state(k) for k in others[len(low) :]), coefficients),
        f=layout.state(f),
        rate=rate,
        deviation=deviation,
    )


def _weight(y0: Array, y: Array) -> Array:
    """The sizes of the variables, so that even a small stiff one is seen."""
    weight = jnp.maximum(jnp.abs(y0), jnp.abs(y))
    weight = jnp.maximum(weight, jnp.max(weight) * _NEGLIGIBLE)
    return jnp.where(weight == 0, 1, weight)  # not a tiny number, whose square is zero


def _largest(v: Array, weight: Array) -> Array:
    return jnp.max(jnp.abs(v) / weight)

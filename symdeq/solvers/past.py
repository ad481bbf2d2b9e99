"""The last steps of a solve, kept with what interpolates them, so that a delay equation can look its own past up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.layout import Layout, layout_of


class Step(eqx.Module):
    """One step, or many where each array has a leading axis.

    - `start`, `end`: its ends, in diffrax's time, which always grows.
    - `info`: what the solver's interpolation wants to know beside them.
    """

    start: Array
    end: Array
    info: PyTree


class Past(eqx.Module):
    """The last accepted steps, in a ring of fixed length.

    The rows that no step has filled yet are steps that end where the solve began. A new step replaces the oldest one.

    - `t0`: where the solve began.
    - `oldest`: the row of the oldest step.
    - `starts`: of the steps, shape (capacity,).
    - `rows`: the steps, one a row, shape (capacity, numbers).
    - `layout`: how a row holds a `Step`.
    - `interpolation`: the class that makes a function of time from a step.
    """

    t0: Array
    oldest: Array
    starts: Array
    rows: Array
    layout: Layout = eqx.field(static=True)
    interpolation: Callable[..., Any] = eqx.field(static=True)

    @property
    def last(self) -> Step:
        """The newest step."""
        return self.layout.state(self._row(-1))

    def _row(self, i: Any) -> Array:
        """The row of the i-th step, from the oldest one on."""
        i = jnp.remainder(self.oldest + i, self.starts.shape[0])
        return lax.dynamic_index_in_dim(self.rows, i, 0, keepdims=False)

    def lost(self, t: Array) -> Array:
        """Whether the solution at t was pushed out."""
        return (t >= self.t0) & (t < jnp.min(self.starts))

    def with_step(self, step: Step) -> Past:
        """With one more step at the end."""
        # diffrax selects between the old and the new state, which goes over every row. A selection here is fused with
        # that one; to set a single row would mean a copy of all of them first.
        here = jnp.arange(self.starts.shape[0]) == self.oldest
        return Past(
            t0=self.t0,
            oldest=jnp.remainder(self.oldest + 1, self.starts.shape[0]),
            starts=jnp.where(here, lax.stop_gradient(step.start), self.starts),
            rows=jnp.where(here[:, None], self.layout.vector(step), self.rows),
            layout=self.layout,
            interpolation=self.interpolation,
        )

    def evaluate(self, t: Array, now: Array, current: Step, y: PyTree) -> PyTree:
        """The solution at t, from t0 on.

        Arguments:

        - `now`: where the step begins that is under way: beyond it, `current` is evaluated.
        - `current`: the step under way as far as it is known, or the last one, which is then extrapolated.
        - `y`: the solution at `now`, taken where there is no step to evaluate.
        """
        count = jnp.sum(self.starts <= jnp.minimum(t, now), dtype=jnp.int32)
        kept = self._row(jnp.maximum(count - 1, 0))
        # Far beyond a short step, its polynomial says nothing any more.
        reach = jnp.maximum(current.end + (current.end - current.start), now)
        ahead = t > now
        step = self.layout.state(jnp.where(ahead, self.layout.vector(current), kept))
        t = jnp.where(ahead, jnp.minimum(t, reach), t)
        value = self.interpolation(t0=step.start, t1=step.end, **step.info).evaluate(t)
        none = step.end <= self.t0
        return jax.tree.map(lambda v, w: jnp.where(none, v, w), y, value)


def no_past(capacity: int, t0: Array, info: PyTree, interpolation: Callable[..., Any]) -> Past:
    """The past at the start of a solve.

    Arguments:

    - `capacity`: how many steps will be kept.
    - `t0`: the start.
    - `info`: the shapes of what interpolates a step.
    """
    nothing = Step(start=t0 - 1, end=t0, info=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), info))
    layout = layout_of(nothing)
    return Past(
        t0=t0,
        oldest=jnp.zeros((), jnp.int32),
        starts=jnp.full(capacity, t0 - 1),
        rows=jnp.tile(layout.vector(nothing), (capacity, 1)),
        layout=layout,
        interpolation=interpolation,
    )

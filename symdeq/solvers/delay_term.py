"""The term of a delay differential equation, and what it is within one step: an ordinary differential equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from symdeq.solvers.past import Past, Step

# Times that differ by no more than so many units of the last place are the same.
_SAME = 16


class DelayTerm(dfx.AbstractTerm):
    """The term of y'(t) = f(t, y(t), y(t - τ_1), ..., y(t - τ_k), args), for `Delayed` to solve.

    Arguments:

    - `vector_field`: a function (t, y, (y_1, ..., y_k), args) -> f, with y_i = y(t - τ_i) of the structure of y.
    - `lags`: the k lags, each a number of zero or more, or a function (t, y, args) -> number.
    - `history`: a function (t, args) -> y of the structure of y, for t before the start. Its value at the start itself
        must be finite, but y0 counts there.
    - `met`: whether steps end wherever the solution is less smooth, as all breakpoints of constant lags are met by the
        controller `Breakpoints`; default `False`. Then the solver does not look for such points.
    """

    vector_field: Callable[..., PyTree]
    lags: tuple[Any, ...]
    history: Callable[..., PyTree]
    met: bool = eqx.field(static=True)

    def __init__(
        self,
        vector_field: Callable[..., PyTree],
        lags: Sequence[Any],
        history: Callable[..., PyTree],
        met: bool = False,
    ):
        self.met = met
        self.vector_field = vector_field
        self.lags = tuple(lag if callable(lag) else jnp.asarray(lag, jnp.result_type(float)) for lag in lags)
        self.history = history

    def lagged(self, t: Any, y: PyTree, args: PyTree) -> list[Any]:
        """The times t - τ_i."""
        return [t - (lag(t, y, args) if callable(lag) else lag) for lag in self.lags]

    def vf(self, t: Any, y: PyTree, args: PyTree) -> PyTree:
        """The vector field at the start of a solve, where all that lies behind is history."""
        t = jnp.asarray(t)
        past = []
        for s in self.lagged(t, y, args):
            behind = s < t
            old = self.history(jnp.where(behind, s, t), args)
            past.append(jax.tree.map(lambda h, v, behind=behind: jnp.where(behind, h, v), old, y))
        return self.vector_field(t, y, tuple(past), args)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return jax.tree.map(lambda v: control * v, vf)


class HeldTerm(dfx.AbstractTerm):
    """A delay equation during one step: an ordinary differential equation, for its past is given.

    - `direction`: of the equation's time in diffrax's.
    - `start`, `y`: where the step begins.
    - `current`: what is known of the step itself, see `Past.evaluate`.
    - `from_history`: for each lag, whether the step as a whole looks at times before the start of the solve.
    """

    term: DelayTerm
    direction: Any
    past: Past
    start: Array
    y: PyTree
    current: Step
    from_history: tuple[Array, ...]

    def vf(self, t: Any, y: PyTree, args: PyTree) -> PyTree:
        return self.term.vector_field(t, y, self.delayed(t, y, args), args)

    def delayed(self, t: Any, y: PyTree, args: PyTree) -> tuple[PyTree, ...]:
        """The delayed values, one a lag."""
        t = jnp.asarray(t)
        lagged = self.term.lagged(t, y, args)
        return tuple(self._value(t, y, s, early, args) for s, early in zip(lagged, self.from_history, strict=True))

    def _value(self, t: Array, y: PyTree, s: Array, early: Array, args: PyTree) -> PyTree:
        t0, when = self.past.t0, s * self.direction
        # A stage may look at the very start of the solve, where the solution may jump: the step decides on its side.
        near = jnp.abs(when - t0) <= _SAME * jnp.finfo(t0.dtype).eps * jnp.maximum(jnp.abs(t), jnp.abs(t0))
        early = jnp.where(near, early, when < t0)
        old = self.term.history(jnp.where(early, s, t0 * self.direction), args)
        new = self.past.evaluate(jnp.where(early, t0, when), self.start, self.current, self.y)
        lost = ~early & self.past.lost(when)
        here = s == t

        def choose(old, new, y):
            value = jnp.where(early, old, jnp.where(here, y, new))
            return jnp.where(lost, jnp.nan, value).astype(jnp.result_type(y))

        return jax.tree.map(choose, old, new, y)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return self.term.prod(vf, control)

"""Where the solution of a delay equation is less smooth, and a step size controller that steps there.

The solution's derivative jumps at the start, unless the history happens to satisfy the equation. A constant lag τ
carries this to t0 + τ as a jump of the second derivative, to t0 + 2τ as one of the third, and so on; several lags carry
it to all their sums. Bellen and Zennaro, Numerical Methods for Delay Differential Equations (2003).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from symdeq.solvers.wrapping import Tried, WrappedController

# A step longer than a lag is repeated about so often that steps as long as the lag cost less up to so many lags.
_REPEATED = 4


def breakpoints(t0: Any, lags: Sequence[Any], order: int) -> Array:
    """The times at which derivatives that matter to a method jump, for constant lags.

    Arguments:

    - `t0`: the start of the solve.
    - `lags`: the lags, numbers that do not depend on t or y; they may be traced.
    - `order`: the method's order. Sums of up to `order` + 1 lags count, which is one more than a continuous solution
        needs, since the history need not end where the solution begins.

    Returns the sorted times, shape (C(order + 1 + k, k) - 1,) for k lags.
    """
    lags = [jnp.asarray(lag, jnp.result_type(float)) for lag in lags]
    sums = [
        sum(chosen[1:], chosen[0])
        for count in range(1, order + 2)
        for chosen in itertools.combinations_with_replacement(lags, count)
    ]
    return jnp.sort(t0 + jnp.stack(sums)) if sums else jnp.zeros(0)


class _Own(eqx.Module):
    """`wanted` is the length of the next step that the inner controller asked for, before it was cut."""

    wanted: Array
    times: Array
    shortest: Array | None


class Breakpoints(WrappedController):
    """A step size controller that leaves all to another one, but ends a step at each of the given times.

    After such a step it goes on with the length that was cut. The times stay differentiable: a solution that jumps at a
    breakpoint, as where y(t0) is not the history's last value, would otherwise lose part of its derivative by the lag.

    Arguments:

    - `controller`: the other controller, adaptive.
    - `times`: the breakpoints in any order, shape (m,), as `breakpoints` gives them; or a function (t0, y0, args) ->
        (times, shortest) for a solve forward in time, called where the solve begins.
    - `shortest`: the shortest lag, if it is known. Steps of one to four times its length are cut to it, since `Delayed`
        would repeat them; longer ones are not.
    - `same`: two times closer than so many units of the last place are one, and only the first of them is stepped to;
        default 100, for sums of lags that are equal but for rounding.
    """

    controller: dfx.AbstractAdaptiveStepSizeController
    times: Array | Callable[[Any, PyTree, PyTree], tuple[Array, Array | None]]
    shortest: Array | None
    same: int = eqx.field(static=True)

    def __init__(
        self, controller: dfx.AbstractAdaptiveStepSizeController, times: Any, shortest: Any = None, same: int = 100
    ):
        self.controller, self.same = controller, same
        known: Any = times if callable(times) else jnp.asarray(times)
        self.times = known
        self.shortest = None if shortest is None else jnp.asarray(shortest)

    def wrap(self, direction: Any) -> Breakpoints:
        controller: Any = self.controller.wrap(direction)
        if callable(self.times):
            return Breakpoints(controller, self.times, same=self.same)
        shortest = None if self.shortest is None else self.shortest * direction
        return Breakpoints(controller, self.times * direction, shortest, self.same)

    def first(self, t0: Any, end: Any, y0: PyTree, args: PyTree) -> tuple[Array, _Own]:
        end = jnp.asarray(end)
        t0 = jnp.asarray(t0, end.dtype)
        known = self.times(t0, y0, args) if callable(self.times) else (self.times, self.shortest)
        times, shortest = jax.tree.map(lambda v: v.astype(t0.dtype), known)
        length = _worthwhile(end - t0, shortest)
        return self._cut(t0, t0 + length, times), _Own(length, times, shortest)

    def following(self, tried: Tried, own: _Own) -> tuple[Array, Any, _Own]:
        start = jnp.asarray(tried.start)
        length = jnp.asarray(tried.end) - start
        resumed = tried.keep & (length >= tried.t1 - tried.t0)
        length = jnp.where(resumed, jnp.maximum(length, own.wanted), length)
        length = _worthwhile(length, own.shortest)
        jumped = tried.jumped | (tried.keep & jnp.any(own.times == start))
        return self._cut(start, start + length, own.times), jumped, _Own(length, own.times, own.shortest)

    def _cut(self, start: Array, end: Array, times: Array) -> Array:
        """The end of a step, moved to the next breakpoint, or half-way where the rest would be a splinter."""
        if not times.size:
            return end
        near = self.same * jnp.finfo(start.dtype).eps * jnp.maximum(jnp.abs(start), jnp.abs(times))
        ahead = times > start + near
        following = jnp.min(jnp.where(ahead, times, jnp.inf))
        left = jnp.where(jnp.any(ahead), following - start, 3 * (end - start))
        at_it = end - start >= left * (1 - 1e-6)
        return jnp.where(at_it, following, jnp.where(end - start > 0.5 * left, start + 0.5 * left, end))


def _worthwhile(length: Array, shortest: Array | None) -> Array:
    """The length of a step; where that is a little more than the shortest lag, the lag."""
    if shortest is None:
        return length
    return jnp.where((length > shortest) & (length < _REPEATED * shortest), shortest, length)

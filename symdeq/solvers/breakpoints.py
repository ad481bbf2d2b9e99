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
import jax.numpy as jnp
from jaxtyping import Array, PyTree

# A step longer than a lag is repeated about so often that steps as long as the lag cost less up to so many lags.
_REPEATED = 4
# Two breakpoints closer than so many units of the last place are one: sums of lags that are equal but for rounding.
_SAME = 100


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


class _State(eqx.Module):
    """`wanted` is the length of the next step that the inner controller asked for, before it was cut."""

    wanted: Array
    inner: PyTree


class Breakpoints(dfx.AbstractAdaptiveStepSizeController):
    """A step size controller that leaves all to another one, but ends a step at each of the given times.

    After such a step it goes on with the length that was cut. The times stay differentiable: a solution that jumps at a
    breakpoint, as where y(t0) is not the history's last value, would otherwise lose part of its derivative by the lag.

    Arguments:

    - `controller`: the other controller, adaptive.
    - `times`: the breakpoints in any order, shape (m,), as `breakpoints` gives them.
    - `shortest`: the shortest lag, if it is known. Steps of one to four times its length are cut to it, since `Delayed`
        would repeat them; longer ones are not.
    """

    controller: dfx.AbstractAdaptiveStepSizeController
    times: Array
    shortest: Array | None

    def __init__(self, controller: dfx.AbstractAdaptiveStepSizeController, times: Any, shortest: Any = None):
        self.controller = controller
        self.times = jnp.asarray(times)
        self.shortest = None if shortest is None else jnp.asarray(shortest)

    @property
    def rtol(self) -> Any:
        return self.controller.rtol

    @property
    def atol(self) -> Any:
        return self.controller.atol

    @property
    def norm(self) -> Callable[[PyTree], Any]:
        return self.controller.norm

    def wrap(self, direction: Any) -> Breakpoints:
        shortest = None if self.shortest is None else self.shortest * direction
        controller: Any = self.controller.wrap(direction)
        return Breakpoints(controller, self.times * direction, shortest)

    def init(
        self,
        terms: PyTree,
        t0: Any,
        t1: Any,
        y0: PyTree,
        dt0: Any,
        args: PyTree,
        func: Callable[..., PyTree],
        error_order: Any,
    ) -> Any:
        end, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        end = jnp.asarray(end)
        t0 = jnp.asarray(t0, end.dtype)
        length = self._worthwhile(end - t0)
        return self._cut(t0, t0 + length), _State(wanted=length, inner=inner)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: PyTree,
        y1_candidate: PyTree,
        args: PyTree,
        y_error: PyTree,
        error_order: Any,
        controller_state: Any,
    ) -> Any:
        keep, start, end, jumped, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state.inner
        )
        start = jnp.asarray(start)
        taken, length = t1 - t0, jnp.asarray(end) - start
        resumed = keep & (length >= taken)
        length = jnp.where(resumed, jnp.maximum(length, controller_state.wanted), length)
        length = self._worthwhile(length)
        jumped = jumped | (keep & jnp.any(self._times(start) == start))
        return keep, start, self._cut(start, start + length), jumped, _State(wanted=length, inner=inner), result

    def _times(self, t: Array) -> Array:
        return self.times.astype(t.dtype)

    def _worthwhile(self, length: Array) -> Array:
        if self.shortest is None:
            return length
        lag = self.shortest.astype(length.dtype)
        return jnp.where((length > lag) & (length < _REPEATED * lag), lag, length)

    def _cut(self, start: Array, end: Array) -> Array:
        """The end of a step, moved to the next breakpoint, or half-way where the rest would be a splinter."""
        times = self._times(start)
        if not times.size:
            return end
        near = _SAME * jnp.finfo(start.dtype).eps * jnp.maximum(jnp.abs(start), jnp.max(jnp.abs(times)))
        ahead = times > start + near
        following = jnp.min(jnp.where(ahead, times, jnp.inf))
        left = jnp.where(jnp.any(ahead), following - start, 3 * (end - start))
        at_it = end - start >= left * (1 - 1e-6)
        return jnp.where(at_it, following, jnp.where(end - start > 0.5 * left, start + 0.5 * left, end))

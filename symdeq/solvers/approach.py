"""Steps that become shorter towards the times at which a noisy stiff solution is looked at."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.linearise import linearise

# The last step before a wanted time takes about so much of the fastest time of the drift.
_LAST = 0.25


class Approach(dfx.AbstractAdaptiveStepSizeController):
    """A step size controller for stiff stochastic equations that leaves the error to another one.

    A fast state forgets its past within its own time, so that long steps may step over its noise, as long as the steps
    before a time at which it is looked at are short again. A step takes at most half of the way to the next wanted
    time, down to the fastest time of the drift. After a wanted time the steps are as long as they once were.

    Arguments:

    - `controller`: the other controller, a `diffrax.PIDController`.
    - `ts`: the wanted times, in order, the end of the interval last; shape (times,).
    - `shortest`: no step is made shorter than this.
    - `drift`: the term of the drift, whose Jacobian tells its fastest time.
    """

    controller: dfx.PIDController
    ts: Array
    shortest: Any
    drift: Any

    def __init__(self, controller: dfx.PIDController, ts: Array, shortest: Any, drift: Any):
        self.controller, self.ts, self.shortest, self.drift = controller, ts, shortest, drift

    @property
    def rtol(self) -> Any:
        return self.controller.rtol

    @property
    def atol(self) -> Any:
        return self.controller.atol

    @property
    def norm(self) -> Callable[[PyTree], Any]:
        return self.controller.norm

    def wrap(self, direction: Any) -> "Approach":
        return Approach(self.controller.wrap(direction), self.ts * direction, self.shortest, self.drift)

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
        next_t1, target = self._clipped(t0, end - t0, self._last(t0, y0, args))
        return next_t1, (inner, target, end - t0)

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
        inner, target, longest = controller_state
        keep, next_t0, next_t1, made_jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        longest = jnp.where(keep, jnp.maximum(longest, t1 - t0), longest)
        h = jnp.where(keep & (t1 == target), jnp.maximum(next_t1 - next_t0, longest), next_t1 - next_t0)
        y = jax.tree.map(lambda old, new: jnp.where(keep, new, old), y0, y1_candidate)
        next_t1, target = self._clipped(next_t0, h, self._last(next_t0, y, args))
        return keep, next_t0, next_t1, made_jump, (inner, target, longest), result

    def _last(self, t: Any, y: PyTree, args: PyTree) -> Array:
        """The length of the last step before a wanted time, were it here."""
        rate = lax.stop_gradient(linearise(self.drift, t, y, args).norm())
        known = jnp.isfinite(rate) & (rate > 0)
        return jnp.where(known, jnp.maximum(_LAST / jnp.where(known, rate, 1), self.shortest), jnp.inf)

    def _clipped(self, t: Any, h: Any, last: Any) -> tuple[Array, Array]:
        """The end of a step from t of length h or less, and the wanted time that it is on the way to."""
        place = jnp.minimum(jnp.searchsorted(self.ts, t, side="right"), len(self.ts) - 1)
        target = self.ts[place]
        left = target - t
        # The end of the interval is diffrax's own; beyond it nothing is wanted.
        there = (h >= left) & (left <= 2 * last)
        return jnp.where(there | (left <= 0), jnp.where(left <= 0, t + h, target), t + jnp.minimum(h, left / 2)), target

"""Steps that become shorter towards the times at which a noisy stiff solution is looked at."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.linearise import linearise
from symdeq.solvers.wrapping import Tried, WrappedController

# The last step before a wanted time takes about so much of the fastest time of the drift.
_LAST = 0.25


class Approach(WrappedController):
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

    def wrap(self, direction: Any) -> "Approach":
        return Approach(self.controller.wrap(direction), self.ts * direction, self.shortest, self.drift)

    def first(self, t0: Any, end: Any, y0: PyTree, args: PyTree) -> tuple[Array, tuple[Array, Any]]:
        clipped, target = self._clipped(t0, end - t0, self._last(t0, y0, args))
        return clipped, (target, end - t0)

    def following(self, tried: Tried, own: tuple[Array, Any]) -> tuple[Array, Any, tuple[Array, Any]]:
        target, longest = own
        keep, h = tried.keep, tried.end - tried.start
        longest = jnp.where(keep, jnp.maximum(longest, tried.t1 - tried.t0), longest)
        h = jnp.where(keep & (tried.t1 == target), jnp.maximum(h, longest), h)
        y = jax.tree.map(lambda old, new: jnp.where(keep, new, old), tried.y0, tried.y1)
        end, target = self._clipped(tried.start, h, self._last(tried.start, y, tried.args))
        return end, tried.jumped, (target, longest)

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

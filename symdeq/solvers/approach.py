"""Steps that become shorter towards the times at which a noisy stiff solution is looked at."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.linearise import linearise

# The last step before a wanted time takes about so much of the fastest time of the drift at the start.
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
    """

    controller: dfx.PIDController
    ts: Array
    shortest: Any

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
        return Approach(self.controller.wrap(direction), self.ts * direction, self.shortest)

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
        rate = lax.stop_gradient(linearise(terms.terms[0], t0, y0, args).norm())
        last = jnp.maximum(_LAST / jnp.where(rate > 0, rate, 1e-30), self.shortest).astype(end.dtype)
        next_t1, target = self._clipped(t0, end - t0, last)
        return next_t1, (inner, last, target, end - t0)

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
        inner, last, target, longest = controller_state
        keep, next_t0, next_t1, made_jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        longest = jnp.where(keep, jnp.maximum(longest, t1 - t0), longest)
        h = jnp.where(keep & (t1 == target), jnp.maximum(next_t1 - next_t0, longest), next_t1 - next_t0)
        next_t1, target = self._clipped(next_t0, h, last)
        return keep, next_t0, next_t1, made_jump, (inner, last, target, longest), result

    def _clipped(self, t: Any, h: Any, last: Any) -> tuple[Array, Array]:
        """The end of a step from t of length h or less, and the wanted time that it is on the way to."""
        place = jnp.minimum(jnp.searchsorted(self.ts, t, side="right"), len(self.ts) - 1)
        target = self.ts[place]
        left = target - t
        # The end of the interval is diffrax's own; beyond it nothing is wanted.
        there = (h >= left) & (left <= 2 * last)
        return jnp.where(there | (left <= 0), jnp.where(left <= 0, t + h, target), t + jnp.minimum(h, left / 2)), target

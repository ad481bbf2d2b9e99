"""Where the solution of a delay equation was found to be less smooth, for lags that do not say so in advance.

The solution's derivative jumps at the start. A step in which a delayed time passes such a point is less smooth by its
end than its error estimate supposes, which is a difference of two formulas that both take it for smooth; the step
itself then becomes such a point, one derivative higher.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

# So many points are remembered, and derivatives up to this one.
_KEPT = 12
_LEVELS = 4
# In units of the last place: a step that ends at such a point has not passed it.
_SAME = 100


class Kinks(eqx.Module):
    """Intervals of time, each with a point somewhere in it at which a derivative jumps.

    - `starts`, `ends`: shape (kept,); infinite where there is none yet.
    - `levels`: which derivative jumps, less one, shape (kept,).
    - `oldest`: the row that is written next.
    """

    starts: Array
    ends: Array
    levels: Array
    oldest: Array

    def passed(self, before: Array, after: Array) -> Array:
        """The lowest level of a point that lies between the delayed times at the ends of a step; more if there is none.

        Arguments:

        - `before`, `after`: the delayed times, shape (k,).
        """
        low, high = jnp.minimum(before, after)[:, None], jnp.maximum(before, after)[:, None]
        near = _SAME * jnp.finfo(low.dtype).eps * jnp.maximum(jnp.abs(low), jnp.abs(high))
        inside = (low < self.ends - near) & (high > self.starts + near)
        return jnp.min(jnp.where(inside, self.levels, _LEVELS), initial=_LEVELS)

    def matters(self, level: Array) -> Array:
        """Whether a step that passed a point of this level is to be looked at."""
        return level < _LEVELS

    def with_step(self, start: Array, end: Array, level: Array) -> Kinks:
        """With a step that passed a point of this level, if it did."""
        here = (jnp.arange(_KEPT) == self.oldest) & (level + 1 < _LEVELS)
        return Kinks(
            starts=jnp.where(here, start, self.starts),
            ends=jnp.where(here, end, self.ends),
            levels=jnp.where(here, level + 1, self.levels),
            oldest=jnp.where(jnp.any(here), jnp.remainder(self.oldest + 1, _KEPT), self.oldest),
        )


def kink_at(t0: Array) -> Kinks:
    """The start of a solve alone."""
    times = jnp.full(_KEPT, jnp.inf, t0.dtype).at[0].set(t0)
    return Kinks(starts=times, ends=times, levels=jnp.zeros(_KEPT, jnp.int32), oldest=jnp.ones((), jnp.int32))

"""Data as a function of time, as the history of a delay equation may be given."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from symdeq.model import Samples

# Beyond the first and the last time by this part of the spacing there, the function goes on; further out it is NaN.
_BEYOND = 1e-3


class Interpolated(eqx.Module):
    """A continuously differentiable function through samples, made of cubics.

    The slope at a sample is that of the parabola through it and its neighbours, so the error is of third order in the
    spacing. It is differentiable with respect to the values too.

    - `times`: growing, shape (samples,), three or more; two give a straight line.
    - `values`: shape (samples,).
    """

    times: Array
    values: Array

    @property
    def in_size(self) -> str:
        return "scalar"

    @property
    def out_size(self) -> str:
        return "scalar"

    def __call__(self, t: Array) -> Array:
        ts, xs = self.times, self.values
        i = jnp.clip(jnp.searchsorted(ts, t, side="right") - 1, 0, len(ts) - 2)
        width = ts[i + 1] - ts[i]
        left, right = self._slope(i), self._slope(i + 1)
        s = (t - ts[i]) / width
        rise = (xs[i + 1] - xs[i]) / width
        value = xs[i] + width * s * (rise + (1 - s) * ((left - rise) * (1 - s) - (right - rise) * s))
        return jnp.where((s >= -_BEYOND) & (s <= 1 + _BEYOND), value, jnp.nan)

    def _slope(self, i: Array) -> Array:
        """The slope at sample i of the parabola through three samples, the first or last three at an end."""
        ts, xs = self.times, self.values
        if len(ts) == 2:
            return (xs[1] - xs[0]) / (ts[1] - ts[0])
        k = jnp.clip(i, 1, len(ts) - 2)
        before, after = (xs[k] - xs[k - 1]) / (ts[k] - ts[k - 1]), (xs[k + 1] - xs[k]) / (ts[k + 1] - ts[k])
        curve = (after - before) / (ts[k + 1] - ts[k - 1])
        return before + curve * (2 * ts[i] - ts[k] - ts[k - 1])


def interpolated(samples: Samples) -> Interpolated:
    """The function through samples, in JAX's default precision at this moment."""
    dtype = jnp.result_type(float)
    return Interpolated(jnp.asarray(samples.times, dtype), jnp.asarray(samples.values, dtype))

"""Moments of an ensemble: mean, variance and quantiles over the members that succeeded."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer

from symdeq._errors import ModelError
from symdeq._values import concrete


class Moments(eqx.Module):
    """What members of an ensemble have in common at each time. Members that failed are left out, and counted.

    - `mean`, `variance`, `std`: shape (times,), or (times, n) for a vector; the variance is divided by `count` - 1.
    - `stderr`: the standard error of the mean, std / sqrt(count).
    - `quantiles`: shape (levels, times); `levels`: those that were asked for.
    - `count`, `failed`: how many members are in these numbers, and how many are left out.
    """

    mean: Any
    variance: Any
    quantiles: Any
    count: Any
    failed: Any
    levels: tuple[float, ...] = eqx.field(static=True)

    @property
    def std(self) -> Any:
        """The standard deviation, with a derivative of zero where it is zero."""
        nothing = self.variance == 0
        return jnp.where(nothing, 0, jnp.sqrt(jnp.where(nothing, 1, self.variance)))

    @property
    def stderr(self) -> Any:
        """The standard error of the mean."""
        return self.std / jnp.sqrt(self.count)

    def __repr__(self) -> str:
        if isinstance(self.count, Tracer) or jnp.ndim(self.count):
            return f"Moments at {self.mean.shape[-1]} times"
        left = f", {int(self.failed)} that failed left out" if int(self.failed) else ""
        return f"Moments of {int(self.count)} members at {len(self.mean)} times{left}"


def moments(values: Any, ok: Any, levels: Any) -> Moments:
    """Moments of values, shape (members, times) or (members, times, n), of the members that are `ok`."""
    levels = _check_levels(levels)
    if concrete(ok) and not ok.any():
        raise ModelError("No member of this ensemble succeeded.", remedy="print(solution.failures) says why")
    values, ok = jnp.asarray(values), jnp.asarray(ok)
    there = ok.reshape(-1, *(1,) * (values.ndim - 1))
    count = jnp.sum(ok)
    mean = jnp.sum(jnp.where(there, values, 0), axis=0) / count
    deviations = jnp.where(there, values - mean, 0)
    ranked = jnp.sort(jnp.where(there, values, jnp.inf), axis=0)
    return Moments(
        mean=mean,
        variance=jnp.sum(deviations**2, axis=0) / (count - 1),
        quantiles=jnp.stack([_quantile(ranked, count, level) for level in levels]),
        count=count,
        failed=ok.size - count,
        levels=levels,
    )


def _quantile(ranked: Any, count: Any, level: float) -> Any:
    """Between the two members around it, linearly, as NumPy does; what failed is ranked last."""
    place = level * (count - 1)
    below = jnp.floor(place).astype(int)
    above = jnp.minimum(below + 1, count - 1)
    weight = (place - below).astype(ranked.dtype)
    return (1 - weight) * ranked[below] + weight * ranked[above]


def _check_levels(levels: Any) -> tuple[float, ...]:
    try:
        found = tuple(float(level) for level in levels)
    except (TypeError, ValueError):
        raise ModelError(f"quantiles={levels!r} is no list of numbers.", remedy="quantiles=(0.05, 0.5, 0.95)") from None
    if not found or not all(0 <= level <= 1 for level in found):
        raise ModelError(f"quantiles={levels!r} must be numbers from 0 to 1.", remedy="quantiles=(0.05, 0.5, 0.95)")
    return found

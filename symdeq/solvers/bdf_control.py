"""Which order and step length a multistep method takes next, and how diffrax's controller is told.

diffrax's controller accepts a step if the error it is shown is below 1 and multiplies the step length by its safety
factor over that error to the power 1 / error_order; for a kept step by no less than 1. The error that it is shown here
is made so that this gives the factor which the order calls for. The rules are those of Shampine and Reichelt (1997):
order and length stay until the differences of all orders that are compared are at hand, and then the order that
promises the longest step is taken.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from symdeq.solvers.bdf_table import MAX_ORDER

# diffrax's rule with error order 1 and its default safety factor: next step = SAFETY / error.
ERROR_ORDER = 1
_SAFETY = 0.9
# Shown where the step is to stay as it is: kept, and not worth a longer one.
_UNCHANGED = 0.95

# Local errors are held to this part of the tolerance, because those of a multistep method add up over many steps: the
# errors at the end are then a few tolerances, as with the Rosenbrock methods.
STRICT = 0.2
# How much shorter than the longest step that meets the tolerance, at order k - 1, k, k + 1.
_MARGINS = (1 / 1.3, 1 / 1.2, 1 / 1.4)
_MOST = 5.0
# A step that is longer by less than this is not worth new factors.
_WORTH = 1.5
# After a step that the iteration failed, and the least and most after an error beyond the tolerance.
_AFTER_FAILURE = 0.3
_LEAST, _NEARLY = 0.2, 0.85


class Errors(NamedTuple):
    """Sizes, in units of the tolerance, of the estimated local errors at orders k - 1, k and k + 1."""

    lower: Array
    same: Array
    higher: Array


class Decision(NamedTuple):
    """`shown`: the error for diffrax's controller; `good`: whether it accepts the step; the order of the next step,
    and for how many steps neither length nor order has changed. The last two are dropped with a rejected step."""

    shown: Array
    good: Array
    order: Array
    equal_steps: Array


def decide(errors: Errors, converged: Array, order: Array, equal_steps: Array, highest: int) -> Decision:
    """What follows from the errors of a step of order `order`, the last of `equal_steps` of one length."""
    good = converged & (errors.same < 1)
    factors = [
        margin * _power(error, order + 1 + shift)
        for shift, error, margin in zip((-1, 0, 1), errors, _MARGINS, strict=True)
    ]
    lower = jnp.where(order > 1, factors[0], 0.0)
    higher = jnp.where(order < highest, factors[2], 0.0)
    best = jnp.maximum(jnp.maximum(lower, higher), factors[1])
    ready = equal_steps > order
    change = jnp.where(best == factors[1], 0, jnp.where(best == lower, -1, 1))
    longer = ready & (best >= _WORTH)
    moved = ready & (change != 0) & (longer | (change < 0))
    factor = jnp.where(longer, jnp.minimum(best, _MOST), 1.0)
    rejected = jnp.where(converged, jnp.clip(0.9 * _power(errors.same, order + 1), _LEAST, _NEARLY), _AFTER_FAILURE)
    shown = jnp.where(good, jnp.where(longer, _SAFETY / factor, _UNCHANGED), _SAFETY / rejected)
    return Decision(
        shown=shown,
        good=good,
        order=jnp.where(moved, jnp.clip(order + change, 1, MAX_ORDER), order).astype(jnp.int32),
        equal_steps=jnp.where(longer | moved, 0, equal_steps).astype(jnp.int32),
    )


def _power(error: Array, order: Array) -> Array:
    """error^(-1/order): how much longer a step would meet the tolerance; finite for an error of zero."""
    tiny = jnp.finfo(error.dtype).tiny
    return jnp.maximum(error, tiny) ** (-1 / jnp.maximum(order, 1).astype(error.dtype))

"""A problem that every peer solves once before anything is measured."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from tests.zoo import Problem
from tests.zoo.problem import evenly


def _build():
    import symdeq as sd
    from symdeq import D, Eq

    x = sd.state("x", 1.0)
    k = sd.parameter("k", 1.0)
    return sd.System([Eq(D(x), -k * x)], name="decay")


DECAY = Problem(
    name="decay",
    source="closed form",
    states=("x",),
    parameters=("k",),
    build=_build,
    field=lambda t, y, args: -args[0] * jnp.asarray(y),
    numpy_rhs=lambda t, y, p: -p[0] * y,
    numpy_jac=lambda t, y, p: np.array([[-p[0]]]),
    y0=(1.0,),
    params=(1.0,),
    t0=0.0,
    t1=1.0,
    ts=evenly(0.0, 1.0),
    reference={},
    stiff=True,
)

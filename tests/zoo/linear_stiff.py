"""A fast linear relaxation towards a slow decay: the smallest stiff problem, autonomous and with a closed form."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    u, v = sd.states(u=2.0, v=1.0)
    k = sd.parameter("k", 2e5)
    return sd.System([Eq(D(u), -k * u + k * v), Eq(D(v), -v)], name="linear_stiff")


def field(t, y, args):
    """By hand, for JAX."""
    (k,) = args
    u, v = y
    return jnp.array([-k * u + k * v, -v])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    (k,) = p
    u, v = y
    return np.array([-k * u + k * v, -v])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    (k,) = p
    return np.array([[-k, k], [0.0, -1.0]])


def exact(t):
    """Variation of constants."""
    k = 2e5
    slow, fast = math.exp(-t), math.exp(-k * t)
    return 2.0 * fast + k / (k - 1) * (slow - fast), slow


PROBLEM = Problem(
    name="linear_stiff",
    source=(
        "After C. F. Curtiss and J. O. Hirschfelder (1952), Integration of stiff equations, Proc. Natl. Acad. Sci. "
        "38:235-243, y' = (y − G)/a with a slowly decaying G. Reference: the closed form."
    ),
    states=("u", "v"),
    parameters=("k",),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(2.0, 1.0),
    params=(2e5,),
    t0=0.0,
    t1=1.0,
    ts=evenly(0.0, 1.0),
    reference={t: exact(t) for t in (1e-5, 0.1, 1.0)},
    exact=exact,
    stiff=True,
)

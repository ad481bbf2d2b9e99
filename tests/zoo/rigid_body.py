"""Euler's equations of a free rigid body, whose solution is Jacobi's sn, cn, dn."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import scipy.special

from .problem import Problem, evenly


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    y1, y2, y3 = sd.states(y1=0.0, y2=1.0, y3=1.0)
    a, b, c = sd.parameters(a=1.0, b=-1.0, c=-0.51)
    return sd.System([Eq(D(y1), a * y2 * y3), Eq(D(y2), b * y1 * y3), Eq(D(y3), c * y1 * y2)], name="rigid_body")


def field(t, y, args):
    """By hand, for JAX."""
    a, b, c = args
    y1, y2, y3 = y
    return jnp.array([a * y2 * y3, b * y1 * y3, c * y1 * y2])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    a, b, c = p
    y1, y2, y3 = y
    return np.array([a * y2 * y3, b * y1 * y3, c * y1 * y2])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    a, b, c = p
    y1, y2, y3 = y
    return np.array([[0.0, a * y3, a * y2], [b * y3, 0.0, b * y1], [c * y2, c * y1, 0.0]])


def exact(t):
    """sn, cn, dn of t with m = 0.51."""
    sn, cn, dn, _ = scipy.special.ellipj(t, 0.51)
    return float(sn), float(cn), float(dn)


PROBLEM = Problem(
    name="rigid_body",
    source=(
        "T. E. Hull, W. H. Enright, B. M. Fellen and A. E. Sedgwick (1972), Comparing numerical methods for ordinary "
        "differential equations, SIAM J. Numer. Anal. 9:603-637, problem B5. Reference: Jacobi's elliptic functions."
    ),
    states=("y1", "y2", "y3"),
    parameters=("a", "b", "c"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(0.0, 1.0, 1.0),
    params=(1.0, -1.0, -0.51),
    t0=0.0,
    t1=20.0,
    ts=evenly(0.0, 20.0),
    reference={t: exact(t) for t in (1.0, 5.0, 20.0)},
    exact=exact,
    stiff=False,
)

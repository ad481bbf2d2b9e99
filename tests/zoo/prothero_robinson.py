"""Prothero and Robinson's equation: stiff and non-autonomous, so that df/dt counts."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly


def build():
    """The model in symdeq's language."""
    import sympy

    import symdeq as sd
    from symdeq import D, Eq, t

    y = sd.state("y", math.sin(math.pi / 4))
    λ = sd.parameter("lam", -1e6)
    g = sympy.sin(t + sympy.pi / 4)
    return sd.System([Eq(D(y), λ * (y - g) + sympy.cos(t + sympy.pi / 4))], name="prothero_robinson")


def field(t, y, args):
    """By hand, for JAX."""
    (λ,) = args
    return λ * (y - jnp.sin(t + math.pi / 4)) + jnp.cos(t + math.pi / 4)


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    (λ,) = p
    return λ * (y - np.sin(t + math.pi / 4)) + np.cos(t + math.pi / 4)


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    (λ,) = p
    return np.array([[λ]])


def exact(t):
    """The slow solution, on which the problem starts."""
    return (math.sin(t + math.pi / 4),)


PROBLEM = Problem(
    name="prothero_robinson",
    source=(
        "A. Prothero and A. Robinson (1974), On the stability and accuracy of one-step methods for solving stiff "
        "systems of ordinary differential equations, Math. Comp. 28:145-162, with φ(t) = sin(t + π/4) as in "
        "E. Hairer and G. Wanner (1996), Solving Ordinary Differential Equations II, sec. IV.15. Reference: the closed "
        "form."
    ),
    states=("y",),
    parameters=("lam",),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(math.sin(math.pi / 4),),
    params=(-1e6,),
    t0=0.0,
    t1=10.0,
    ts=evenly(0.0, 10.0),
    reference={t: exact(t) for t in (1.0, 5.0, 10.0)},
    exact=exact,
    stiff=True,
)

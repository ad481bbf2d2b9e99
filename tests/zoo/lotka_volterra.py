"""Predator and prey."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly

# The largest x, from the invariant  γx − δ ln x + βy − α ln y  at y = α/β.
MAX_X = 6.904885103506642


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    x, y = sd.states(x=1.0, y=1.0)
    α, β, δ, γ = sd.parameters(alpha=1.5, beta=1.0, delta=3.0, gamma=1.0)
    return sd.System([Eq(D(x), α * x - β * x * y), Eq(D(y), -δ * y + γ * x * y)], name="lotka_volterra")


def field(t, y, args):
    """By hand, for JAX."""
    α, β, δ, γ = args
    prey, predator = y
    return jnp.array([α * prey - β * prey * predator, -δ * predator + γ * prey * predator])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    α, β, δ, γ = p
    prey, predator = y
    return np.array([α * prey - β * prey * predator, -δ * predator + γ * prey * predator])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    α, β, δ, γ = p
    prey, predator = y
    return np.array([[α - β * predator, -β * prey], [γ * predator, -δ + γ * prey]])


PROBLEM = Problem(
    name="lotka_volterra",
    source=(
        "A. J. Lotka (1925), Elements of Physical Biology; V. Volterra (1926), Nature 118:558. Reference: "
        "collocation.py."
    ),
    states=("x", "y"),
    parameters=("alpha", "beta", "delta", "gamma"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(1.0, 1.0),
    params=(1.5, 1.0, 3.0, 1.0),
    t0=0.0,
    t1=10.0,
    ts=evenly(0.0, 10.0),
    reference={
        1.0: (
            2.772850901841112,
            0.25871087814256394,
        ),
        5.0: (
            6.098494675971743,
            0.6281379021874609,
        ),
        10.0: (
            1.0263447675750894,
            0.9096910781360417,
        ),
    },
    stiff=False,
)

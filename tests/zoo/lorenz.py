"""Lorenz's equations: chaotic, so on a short interval only."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    x, y, z = sd.states(x=1.0, y=0.0, z=0.0)
    σ, ρ, β = sd.parameters(sigma=10.0, rho=28.0, beta=8 / 3)
    return sd.System(
        [Eq(D(x), σ * (y - x)), Eq(D(y), x * (ρ - z) - y), Eq(D(z), x * y - β * z)],
        name="lorenz",
    )


def field(t, y, args):
    """By hand, for JAX."""
    σ, ρ, β = args
    x, y, z = y
    return jnp.array([σ * (y - x), x * (ρ - z) - y, x * y - β * z])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    σ, ρ, β = p
    x, y, z = y
    return np.array([σ * (y - x), x * (ρ - z) - y, x * y - β * z])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    σ, ρ, β = p
    x, y, z = y
    return np.array([[-σ, σ, 0.0], [ρ - z, -1.0, -x], [y, x, -β]])


PROBLEM = Problem(
    name="lorenz",
    source=(
        "E. N. Lorenz (1963), Deterministic nonperiodic flow, J. Atmos. Sci. 20:130-141. Reference: collocation.py. A "
        "perturbation grows about as exp(0.9 t): by 1e4 at t = 10."
    ),
    states=("x", "y", "z"),
    parameters=("sigma", "rho", "beta"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(1.0, 0.0, 0.0),
    params=(10.0, 28.0, 8 / 3),
    t0=0.0,
    t1=10.0,
    ts=evenly(0.0, 10.0),
    reference={
        1.0: (
            -9.408450567056036,
            -9.09619907118648,
            28.581627624392336,
        ),
        5.0: (
            -6.974570472684818,
            -7.021060890822529,
            25.119616492127598,
        ),
        10.0: (
            -5.857685382424091,
            -5.831082486426098,
            23.93213298702757,
        ),
    },
    stiff=False,
)

"""Van der Pol's oscillator, stiff (μ = 1000) and not (μ = 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly


def _build(μ_value: float, name: str) -> Callable:
    def build():
        """The model in symdeq's language."""
        import symdeq as sd
        from symdeq import D, Eq

        x, v = sd.states(x=2.0, v=0.0)
        μ = sd.parameter("mu", μ_value)
        return sd.System([Eq(D(x), v), Eq(D(v), μ * (1 - x**2) * v - x)], name=name)

    return build


def field(t, y, args):
    """By hand, for JAX."""
    (μ,) = args
    x, v = y
    return jnp.array([v, μ * (1 - x**2) * v - x])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    (μ,) = p
    x, v = y
    return np.array([v, μ * (1 - x**2) * v - x])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    (μ,) = p
    x, v = y
    return np.array([[0.0, 1.0], [-2 * μ * x * v - 1, μ * (1 - x**2)]])


PROBLEM = Problem(
    name="van_der_pol",
    source=(
        "B. van der Pol (1926), On relaxation-oscillations, Phil. Mag. 2:978-992. Reference: collocation.py; it agrees "
        "with F. Mazzia and C. Magherini (2008), Test Set for IVP Solvers, problem VDPOL."
    ),
    states=("x", "v"),
    parameters=("mu",),
    build=_build(1e3, "van_der_pol"),
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(2.0, 0.0),
    params=(1e3,),
    t0=0.0,
    t1=2000.0,
    ts=evenly(0.0, 2000.0),
    reference={
        400.0: (
            1.6932094268309141,
            -0.0009069343138535924,
        ),
        1000.0: (
            -1.8636462548081338,
            0.0007535430865435433,
        ),
        2000.0: (
            1.706167732170465,
            -0.0008928097010248166,
        ),
    },
    stiff=True,
)

MILD = replace(
    PROBLEM,
    name="van_der_pol_mild",
    source=(
        "B. van der Pol (1926), On relaxation-oscillations, Phil. Mag. 2:978-992, with μ = 1. Reference: "
        "collocation.py."
    ),
    build=_build(1.0, "van_der_pol_mild"),
    params=(1.0,),
    t1=20.0,
    ts=evenly(0.0, 20.0),
    reference={
        5.0: (
            -0.8370774502947651,
            1.307088937799672,
        ),
        10.0: (
            -2.008340782579712,
            0.032907065863324064,
        ),
        20.0: (
            2.0081497621749484,
            -0.04250887527320214,
        ),
    },
    stiff=False,
)

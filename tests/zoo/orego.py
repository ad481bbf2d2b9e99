"""The Oregonator: the Belousov-Zhabotinskii reaction, a relaxation oscillation over six decades."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    y1, y2, y3 = sd.states(y1=1.0, y2=2.0, y3=3.0)
    s, q, w = sd.parameters(s=77.27, q=8.375e-6, w=0.161)
    return sd.System(
        [
            Eq(D(y1), s * (y2 + y1 * (1 - q * y1 - y2))),
            Eq(D(y2), (y3 - (1 + y1) * y2) / s),
            Eq(D(y3), w * (y1 - y3)),
        ],
        name="orego",
    )


def field(t, y, args):
    """By hand, for JAX."""
    s, q, w = args
    y1, y2, y3 = y
    return jnp.array([s * (y2 + y1 * (1 - q * y1 - y2)), (y3 - (1 + y1) * y2) / s, w * (y1 - y3)])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    s, q, w = p
    y1, y2, y3 = y
    return np.array([s * (y2 + y1 * (1 - q * y1 - y2)), (y3 - (1 + y1) * y2) / s, w * (y1 - y3)])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    s, q, w = p
    y1, y2, _ = y
    return np.array(
        [
            [s * (1 - 2 * q * y1 - y2), s * (1 - y1), 0.0],
            [-y2 / s, -(1 + y1) / s, 1 / s],
            [w, 0.0, -w],
        ]
    )


PROBLEM = Problem(
    name="orego",
    source=(
        "R. J. Field and R. M. Noyes (1974), Oscillations in chemical systems IV, J. Chem. Phys. 60:1877-1884; these "
        "values in E. Hairer and G. Wanner (1996), Solving Ordinary Differential Equations II, sec. IV.10. Reference: "
        "collocation.py; it agrees with F. Mazzia and C. Magherini (2008), Test Set for IVP Solvers, problem OREGO."
    ),
    states=("y1", "y2", "y3"),
    parameters=("s", "q", "w"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(1.0, 2.0, 3.0),
    params=(77.27, 8.375e-6, 0.161),
    t0=0.0,
    t1=360.0,
    ts=evenly(0.0, 360.0),
    reference={
        30.0: (
            1.0006614671804968,
            1512.7789373482506,
            10358.543127672274,
        ),
        200.0: (
            1.0336163858686638,
            30.746785288859453,
            1.0288427602741963,
        ),
        360.0: (
            1.0008148703185227,
            1228.1785215498874,
            132.05549428465045,
        ),
    },
    stiff=True,
)

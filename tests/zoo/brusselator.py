"""The Brusselator without diffusion: a limit cycle."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    u, v = sd.states(u=1.5, v=3.0)
    a, b = sd.parameters(a=1.0, b=3.0)
    return sd.System([Eq(D(u), a + u**2 * v - (b + 1) * u), Eq(D(v), b * u - u**2 * v)], name="brusselator")


def field(t, y, args):
    """By hand, for JAX."""
    a, b = args
    u, v = y
    return jnp.array([a + u**2 * v - (b + 1) * u, b * u - u**2 * v])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    a, b = p
    u, v = y
    return np.array([a + u**2 * v - (b + 1) * u, b * u - u**2 * v])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    _, b = p
    u, v = y
    return np.array([[2 * u * v - (b + 1), u**2], [b - 2 * u * v, -(u**2)]])


PROBLEM = Problem(
    name="brusselator",
    source=(
        "R. Lefever and G. Nicolis (1971), Chemical instabilities and sustained oscillations, J. Theor. Biol. "
        "30:267-284; these values in E. Hairer, S. P. Nørsett and G. Wanner (1993), Solving Ordinary Differential "
        "Equations I, sec. II.4. Reference: collocation.py; it agrees with 32-digit arithmetic."
    ),
    states=("u", "v"),
    parameters=("a", "b"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(1.5, 3.0),
    params=(1.0, 3.0),
    t0=0.0,
    t1=20.0,
    ts=evenly(0.0, 20.0),
    reference={
        5.0: (
            0.4268476684075353,
            4.2948418058667475,
        ),
        10.0: (
            0.4135587830019559,
            2.989025379473973,
        ),
        20.0: (
            0.49863707126834783,
            4.596780349452011,
        ),
    },
    stiff=False,
)

"""Robertson's autocatalytic reaction: to 1e5, to 1e11, and with the conserved sum as an algebraic equation."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from .problem import Problem, geometrically


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    y1, y2, y3 = sd.states(y1=1.0, y2=0.0, y3=0.0)
    k1, k2, k3 = sd.parameters(k1=0.04, k2=3e7, k3=1e4)
    return sd.System(
        [
            Eq(D(y1), -k1 * y1 + k3 * y2 * y3),
            Eq(D(y2), k1 * y1 - k2 * y2**2 - k3 * y2 * y3),
            Eq(D(y3), k2 * y2**2),
        ],
        name="rober",
    )


def field(t, y, args):
    """By hand, for JAX."""
    k1, k2, k3 = args
    y1, y2, y3 = y
    return jnp.array([-k1 * y1 + k3 * y2 * y3, k1 * y1 - k2 * y2**2 - k3 * y2 * y3, k2 * y2**2])


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    k1, k2, k3 = p
    y1, y2, y3 = y
    return np.array([-k1 * y1 + k3 * y2 * y3, k1 * y1 - k2 * y2**2 - k3 * y2 * y3, k2 * y2**2])


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    k1, k2, k3 = p
    _, y2, y3 = y
    return np.array(
        [
            [-k1, k3 * y3, k3 * y2],
            [k1, -2 * k2 * y2 - k3 * y3, -k3 * y2],
            [0.0, 2 * k2 * y2, 0.0],
        ]
    )


def build_dae():
    """The model in symdeq's language, the last equation algebraic."""
    import symdeq as sd
    from symdeq import D, Eq

    y1, y2, y3 = sd.states(y1=1.0, y2=0.0, y3=sd.guess(0.0))
    k1, k2, k3 = sd.parameters(k1=0.04, k2=3e7, k3=1e4)
    return sd.System(
        [
            Eq(D(y1), -k1 * y1 + k3 * y2 * y3),
            Eq(D(y2), k1 * y1 - k2 * y2**2 - k3 * y2 * y3),
            Eq(y1 + y2 + y3, 1),
        ],
        name="rober_dae",
    )


def field_dae(t, y, args):
    """By hand, for JAX, as right-hand side of M y'."""
    k1, k2, k3 = args
    y1, y2, y3 = y
    return jnp.array([-k1 * y1 + k3 * y2 * y3, k1 * y1 - k2 * y2**2 - k3 * y2 * y3, y1 + y2 + y3 - 1.0])


def numpy_rhs_dae(t, y, p):
    """By hand, for NumPy, as right-hand side of M y'."""
    k1, k2, k3 = p
    y1, y2, y3 = y
    return np.array([-k1 * y1 + k3 * y2 * y3, k1 * y1 - k2 * y2**2 - k3 * y2 * y3, y1 + y2 + y3 - 1.0])


def numpy_jac_dae(t, y, p):
    """By hand, for NumPy, as Jacobian of the right-hand side of M y'."""
    k1, k2, k3 = p
    _, y2, y3 = y
    return np.array([[-k1, k3 * y3, k3 * y2], [k1, -2 * k2 * y2 - k3 * y3, -k3 * y2], [1.0, 1.0, 1.0]])


PROBLEM = Problem(
    name="rober",
    source=(
        "H. H. Robertson (1966), The solution of a set of reaction rate equations, in J. Walsh (ed.), Numerical "
        "Analysis: An Introduction, 178-182. Reference: collocation.py; at 1e11 it agrees with F. Mazzia and C. "
        "Magherini (2008), Test Set for IVP Solvers, problem ROBER."
    ),
    states=("y1", "y2", "y3"),
    parameters=("k1", "k2", "k3"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(1.0, 0.0, 0.0),
    params=(0.04, 3e7, 1e4),
    t0=0.0,
    t1=1e5,
    ts=geometrically(1e-3, 1e5),
    reference={
        1.0: (
            0.9664597373330035,
            3.074626578578675e-05,
            0.033509516401210714,
        ),
        1000.0: (
            0.3368745306607069,
            2.0137023182613927e-06,
            0.6631234556369748,
        ),
        100000.0: (
            0.017865921142099464,
            7.274751468436319e-08,
            0.9821340061103858,
        ),
    },
    stiff=True,
)

# At the end y1 is 2e-8 and y2 8e-14, so the usual absolute tolerance would accept anything.
LONG = replace(
    PROBLEM,
    name="rober_long",
    t1=1e11,
    ts=geometrically(1e-3, 1e11),
    reference={
        100000.0: (
            0.017865921142099464,
            7.274751468436319e-08,
            0.9821340061103858,
        ),
        100000000.0: (
            2.08241751217946e-05,
            8.329841429908955e-11,
            0.9999791757415798,
        ),
        100000000000.0: (
            2.0833401497012097e-08,
            8.333360770334446e-14,
            0.9999999791665152,
        ),
    },
    atol=1e-12,
)

DAE = replace(
    PROBLEM,
    name="rober_dae",
    build=build_dae,
    field=field_dae,
    numpy_rhs=numpy_rhs_dae,
    numpy_jac=numpy_jac_dae,
    mass=(1.0, 1.0, 0.0),
)

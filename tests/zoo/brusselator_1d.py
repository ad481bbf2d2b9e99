"""The Brusselator with diffusion on a line, by the method of lines: banded, as large as one likes."""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
import scipy.sparse

from .problem import Problem, evenly

A, B, ALPHA = 1.0, 3.0, 1 / 50

# 32 inner points, at t = 10.
_REFERENCE = {
    10.0: (
        0.9217199975634107, 3.098815870984638, 0.8463139328060236, 3.1938982018775683,
        0.7760884584320398, 3.2821827586722843, 0.7126245833455368, 3.361507789073997,
        0.6567646173591221, 3.4306678723533746, 0.6087103613516146, 3.4893233402152535,
        0.5681813381090888, 3.537822744353162, 0.534585507550689, 3.5769947503275374,
        0.5071702627614632, 3.607950535092078, 0.4851386575670628, 3.631919070043203,
        0.4677288604250093, 3.65012243519082, 0.45426221098943187, 3.6636887721865024,
        0.4441679986508393, 3.6735959936426767, 0.436992976319799, 3.680638257926953,
        0.43240220526991957, 3.6854079291500996, 0.43017607514756806, 3.6882872010333574,
        0.43020673585166785, 3.689445183190885, 0.4324958633696103, 3.688837780874969,
        0.4371546276488391, 3.6862090936768954, 0.44440582164614606, 3.6810943625269004,
        0.45458720182278783, 3.6728257929038963, 0.4681540387175634, 3.660543958897448,
        0.48567757334944883, 3.6432189891220923, 0.507834502081769, 3.6196872896715444,
        0.5353809377040776, 3.5887109069069982, 0.5691030203416904, 3.5490671689020648,
        0.6097364714537475, 3.4996748928845363, 0.6578504156924371, 3.439758678152973,
        0.7136984311221222, 3.3690430698867755, 0.777052842605292, 3.2879532542240626,
        0.847054906418211, 3.197780959158624, 0.922127645942523, 3.10076040450205,
    ),
}  # fmt: skip


def _initial(n: int) -> np.ndarray:
    """u and v at the n inner points, one pair after the other so that the Jacobian is banded."""
    x = np.arange(1, n + 1) / (n + 1)
    return np.stack([1 + np.sin(2 * math.pi * x), np.full(n, 3.0)], axis=1).ravel()


def _build(n: int):
    """The model in symdeq's language, u and v fixed to A and B at both ends."""
    import symdeq as sd
    from symdeq import D, Eq

    y0 = _initial(n)
    u = [sd.state(f"u{i + 1}", float(y0[2 * i])) for i in range(n)]
    v = [sd.state(f"v{i + 1}", float(y0[2 * i + 1])) for i in range(n)]
    a, b, α = sd.parameters(a=A, b=B, alpha=ALPHA)
    diffusion = α * (n + 1) ** 2
    equations = []
    for i in range(n):
        u_left, v_left = (u[i - 1], v[i - 1]) if i > 0 else (a, b)
        u_right, v_right = (u[i + 1], v[i + 1]) if i < n - 1 else (a, b)
        reaction = u[i] ** 2 * v[i]
        equations += [
            Eq(D(u[i]), a + reaction - (b + 1) * u[i] + diffusion * (u_left - 2 * u[i] + u_right)),
            Eq(D(v[i]), b * u[i] - reaction + diffusion * (v_left - 2 * v[i] + v_right)),
        ]
    return sd.System(equations, name=f"brusselator_1d_{n}")


def field(t, y, args):
    """By hand, for JAX."""
    a, b, α = args
    w = y.reshape(-1, 2)
    ends = jnp.array([[a, b]])
    padded = jnp.concatenate([ends, w, ends])
    diffusion = α * (len(w) + 1) ** 2 * (padded[:-2] - 2 * w + padded[2:])
    u, v = w.T
    reaction = u**2 * v
    return (jnp.stack([a + reaction - (b + 1) * u, b * u - reaction], axis=1) + diffusion).ravel()


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    a, b, α = p
    w = y.reshape(-1, 2)
    ends = np.array([[a, b]])
    padded = np.concatenate([ends, w, ends])
    diffusion = α * (len(w) + 1) ** 2 * (padded[:-2] - 2 * w + padded[2:])
    u, v = w.T
    reaction = u**2 * v
    return (np.stack([a + reaction - (b + 1) * u, b * u - reaction], axis=1) + diffusion).ravel()


def numpy_jac(t, y, p):
    """By hand, for NumPy: dense, with two bands on either side of the diagonal."""
    _, b, α = p
    u, v = y.reshape(-1, 2).T
    n = len(u)
    diffusion = α * (n + 1) ** 2
    jac = np.zeros((2 * n, 2 * n), dtype=y.dtype)
    every = np.arange(2 * n)
    jac[every[2:], every[:-2]] = diffusion
    jac[every[:-2], every[2:]] = diffusion
    even, odd = every[::2], every[1::2]
    jac[even, even] = 2 * u * v - (b + 1) - 2 * diffusion
    jac[even, odd] = u**2
    jac[odd, even] = b - 2 * u * v
    jac[odd, odd] = -(u**2) - 2 * diffusion
    return jac


def numpy_jac_banded(t, y, p):
    """By hand, for NumPy: the five bands, the uppermost first."""
    _, b, α = p
    u, v = y.reshape(-1, 2).T
    n = len(u)
    diffusion = α * (n + 1) ** 2
    bands = np.zeros((5, 2 * n), dtype=y.dtype)
    bands[0, 2:] = bands[4, :-2] = diffusion
    bands[1, 1::2] = u**2
    bands[2, ::2] = 2 * u * v - (b + 1) - 2 * diffusion
    bands[2, 1::2] = -(u**2) - 2 * diffusion
    bands[3, ::2] = b - 2 * u * v
    return bands


def numpy_jac_sparse(t, y, p):
    """By hand, for SciPy, as a sparse matrix."""
    return scipy.sparse.dia_matrix((numpy_jac_banded(t, y, p), (2, 1, 0, -1, -2)), shape=(len(y), len(y))).tocsc()


def brusselator_1d(n: int) -> Problem:
    """The problem with n inner points, 2 n states; reference values are known for n = 32 (others: none)."""
    return Problem(
        name=f"brusselator_1d_{n}",
        source=(
            "E. Hairer and G. Wanner (1996), Solving Ordinary Differential Equations II, sec. IV.10, "
            "problem BRUSS. Reference: collocation.py."
        ),
        states=tuple(f"{name}{i}" for i in range(1, n + 1) for name in "uv"),
        parameters=("a", "b", "alpha"),
        build=functools.partial(_build, n),
        field=field,
        numpy_rhs=numpy_rhs,
        numpy_jac=numpy_jac,
        y0=tuple(map(float, _initial(n))),
        params=(A, B, ALPHA),
        t0=0.0,
        t1=10.0,
        ts=evenly(0.0, 10.0),
        reference=_REFERENCE if n == 32 else {},
        stiff=True,
        bands=(2, 2),
        numpy_jac_banded=numpy_jac_banded,
        numpy_jac_sparse=numpy_jac_sparse,
    )

"""Problems with closed forms or published values that the tests of the solvers share."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from symdeq.solvers import AbstractLinearisation, linearise

ROBER_K = (0.04, 3e7, 1e4)
ROBER_AT_1E5 = np.array([0.0178659, 7.27475e-8, 0.982134])  # to six digits, from independent solvers at rtol 1e-12


def rober(t, y, k):
    a, b, c = y
    return (-k[0] * a + k[2] * b * c, k[0] * a - k[1] * b * b - k[2] * b * c, k[1] * b * b)


def lotka_volterra(t, y, p):
    x, y = y
    return (p[0] * x - p[1] * x * y, -p[2] * y + p[3] * x * y)


def driven(t, y, args):
    """A nonlinear system that depends on t, coupled both ways, with the solution `driven_exactly`."""
    a, b = y
    off = a - 1 / (2 + jnp.sin(t))
    return (-a * a * jnp.cos(t) + 0.3 * off * b, -(b - a * a) - 2 * a * a * a * jnp.cos(t))


def driven_exactly(t):
    a = 1 / (2 + np.sin(t))
    return np.stack([a, np.exp(-t) + a**2])


def stacked(f: Callable[..., Any]) -> Callable[..., Any]:
    """A vector field of a tuple of scalars as one of an array."""
    return lambda t, y, args: jnp.stack(f(t, tuple(y[i] for i in range(y.shape[0])), args))


def solve(
    f: Any, solver: Any, y0: Any, t1: float, *, t0=0.0, args=None, dt0: Any = 1e-4, tolerance=None, ts=None, **more
) -> Any:
    """`diffrax.diffeqsolve` with the settings of these tests; steps are fixed unless a relative tolerance is given."""
    controller = (
        dfx.ConstantStepSize() if tolerance is None else dfx.PIDController(rtol=tolerance, atol=tolerance * 1e-3)
    )
    settings = {"stepsize_controller": controller, "throw": False, "max_steps": 4096, **more}
    if ts is not None:
        settings["saveat"] = dfx.SaveAt(ts=ts)
    term = f if isinstance(f, dfx.AbstractTerm) else dfx.ODETerm(f)
    return dfx.diffeqsolve(term, solver, t0, t1, dt0, y0, args=args, **settings)


def table(ys: Any) -> np.ndarray:
    """Saved values as an array of shape (states, times), for a tuple of scalars or an array."""
    return np.stack([np.asarray(v) for v in ys]) if isinstance(ys, tuple) else np.asarray(ys).T


def slopes(errors: Any) -> np.ndarray:
    """Observed orders, from errors at steps that are halved from one to the next."""
    errors = np.asarray(errors)
    return np.log2(errors[:-1] / errors[1:])


class SparseTerm(dfx.AbstractTerm):
    """Robertson's problem with a Jacobian by hand and an elimination without pivoting, as generated code has them."""

    def vf(self, t, y, args):
        return rober(t, y, args)

    def contr(self, t0, t1, **kwargs):
        return t1 - t0

    def prod(self, vf, control):
        return jax.tree.map(lambda v: control * v, vf)


class SparseLinearisation(AbstractLinearisation):
    jacobian: tuple
    dfdt: None = None

    def norm(self):
        return jnp.max(jnp.stack([sum(abs(v) for v in row) for row in self.jacobian]))

    def _matrix(self, shift):
        return [[shift * (i == j) - v for j, v in enumerate(row)] for i, row in enumerate(self.jacobian)]

    def factors(self, shift):
        return shift

    def solve(self, factors, b):
        return self._factorised(factors)(b)

    def _factorised(self, shift):
        matrix = self._matrix(shift)
        m = [[lax.stop_gradient(v) for v in row] for row in matrix]
        for p in range(3):
            for i in range(p + 1, 3):
                m[i][p] = m[i][p] / m[p][p]
                for j in range(p + 1, 3):
                    m[i][j] = m[i][j] - m[i][p] * m[p][j]

        def lower_then_upper(_, b):
            x = list(b)
            for i in range(3):
                for j in range(i):
                    x[i] = x[i] - m[i][j] * x[j]
            for i in reversed(range(3)):
                for j in range(i + 1, 3):
                    x[i] = x[i] - m[i][j] * x[j]
                x[i] = x[i] / m[i][i]
            return tuple(x)

        def transposed(_, b):
            x = list(b)
            for i in range(3):
                for j in range(i):
                    x[i] = x[i] - m[j][i] * x[j]
                x[i] = x[i] / m[i][i]
            for i in reversed(range(3)):
                for j in range(i + 1, 3):
                    x[i] = x[i] - m[j][i] * x[j]
            return tuple(x)

        def product(x):
            return tuple(sum(v * w for v, w in zip(row, x, strict=True)) for row in matrix)

        return lambda b: lax.custom_linear_solve(product, tuple(b), solve=lower_then_upper, transpose_solve=transposed)

    def correction(self, shift, x, b):
        rows = self._matrix(shift)
        residuals = [sum(v * w for v, w in zip(row, x, strict=True)) - c for row, c in zip(rows, b, strict=True)]
        return tuple(abs(r / rows[i][i]) for i, r in enumerate(residuals))


@linearise.register(SparseTerm)
def _(term, t, y, args):
    (_, b, c), k = y, args
    zero = jnp.zeros_like(b)
    rows = (
        (zero - k[0], k[2] * c, k[2] * b),
        (zero + k[0], -2 * k[1] * b - k[2] * c, -k[2] * b),
        (zero, 2 * k[1] * b, zero),
    )
    return SparseLinearisation(jacobian=rows)

"""The explicit steps against diffrax's own, and the stiffness that they measure."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from symdeq.solvers import BOSH3, DOP853, TSIT5, StepInterpolation
from symdeq.solvers.explicit import explicit_step
from symdeq.solvers.explicit_tableaus import TSIT5_WEIGHTS
from symdeq.solvers.step import StepInput

from .problems import driven, driven_exactly, slopes, stacked

PAIRS = {"Tsit5": (TSIT5, dfx.Tsit5()), "Bosh3": (BOSH3, dfx.Bosh3())}
TABLEAUS = {"Tsit5": TSIT5, "Bosh3": BOSH3, "DOP853": DOP853}
each = pytest.mark.parametrize("name", PAIRS)
every = pytest.mark.parametrize("name", TABLEAUS)


def step(tableau, f, y, h, t=0.0, autonomous=False):
    return explicit_step(
        tableau, autonomous, StepInput(dfx.ODETerm(f), jnp.asarray(t), jnp.asarray(h), y, f(t, y, None), None)
    )


@each
@pytest.mark.parametrize("layout", ["scalars", "array"])
def test_a_step_is_diffrax_s_step(name, layout):
    tableau, reference = PAIRS[name]
    f, y0, t, h = driven, tuple(jnp.asarray(v) for v in driven_exactly(0.3)), 0.3, 0.2
    if layout == "array":
        f, y0 = stacked(driven), jnp.stack(y0)
    term = dfx.ODETerm(f)
    state = reference.init(term, t, t + h, y0, None)
    y1, error, dense, _, _ = reference.step(term, t, t + h, y0, None, state, False)
    out = step(tableau, f, y0, h, t)
    pairs = [(out.y, y1), (jax.tree.map(abs, out.error), jax.tree.map(abs, error)), (out.f, f(t + h, y1, None))]
    theirs = reference.interpolation_cls(t0=t, t1=t + h, **dense)
    ours = StepInterpolation(t0=t, t1=t + h, y0=y0, y1=out.y, k=out.dense)
    pairs += [(ours.evaluate(s), theirs.evaluate(s)) for s in t + h * np.linspace(0, 1, 7)]
    increment = jax.tree.map(lambda b, a: b - a, theirs.evaluate(t + h / 3), theirs.evaluate(t))
    pairs += [(ours.evaluate(t, t + h / 3), increment), (ours.derivative(t), theirs.derivative(t))]
    for a, b in pairs:
        for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-14)


def test_the_interpolant_of_tsit5_ends_at_the_solution_and_has_order_4():
    np.testing.assert_allclose(TSIT5_WEIGHTS.sum(axis=1), np.asarray(dfx.Tsit5.tableau.b_sol), atol=1e-13)
    np.testing.assert_array_equal(TSIT5_WEIGHTS[:, 0], 0)
    # The conditions of a quadrature with the stages' times: Σ b_i(θ) c_i^q = θ^(q+1) / (q+1) for q < 4.
    for q in range(4):
        moments = TSIT5_WEIGHTS.T @ np.array(TSIT5.times) ** q
        np.testing.assert_allclose(moments, np.eye(5)[q + 1] / (q + 1), atol=1e-12)


def test_a_step_of_dop853_is_scipy_s_step():
    f, y0, t, h = stacked(driven), jnp.stack(driven_exactly(0.3)), 0.3, 0.4
    reference = scipy.integrate.DOP853(
        lambda t, y: np.asarray(f(t, y, None)), t, np.asarray(y0), t + 2 * h, first_step=h, rtol=1.0, atol=1.0
    )
    reference.step()
    assert reference.t == t + h
    out = step(DOP853, f, y0, h, t)
    np.testing.assert_allclose(out.y, reference.y, rtol=1e-14)
    np.testing.assert_allclose(np.abs(out.error), np.abs(reference._estimate_error(reference.K, h)), rtol=1e-6)
    ours = StepInterpolation(t0=t, t1=t + h, y0=y0, y1=out.y, k=out.dense)
    theirs = reference.dense_output()
    for s in t + h * np.linspace(0, 1, 7):
        np.testing.assert_allclose(ours.evaluate(s), theirs(s), rtol=1e-13)


@every
def test_the_stability_interval(name):
    tableau = TABLEAUS[name]
    a, b = np.array(tableau.a)[: tableau.end, : tableau.end], np.array(tableau.a)[tableau.end, : tableau.end]

    def growth(z):
        return abs(1 + z * b @ np.linalg.solve(np.eye(tableau.end) - z * a, np.ones(tableau.end)))

    assert all(growth(-z) <= 1 + 1e-12 for z in np.linspace(0, 0.995 * tableau.stability, 50))
    assert growth(-1.005 * tableau.stability) > 1


@every
def test_order_within_one_step(name):
    tableau, y0, off = TABLEAUS[name], tuple(jnp.asarray(v) for v in driven_exactly(0.0)), []
    for h in (0.3, 0.15) if name == "DOP853" else (0.1, 0.05):
        off.append(np.abs(np.stack(step(tableau, driven, y0, h).y) - driven_exactly(h)).max())
    assert slopes(off)[-1] > tableau.order + 0.4


@every
def test_order_of_the_dense_output_within_one_step(name):
    tableau, y0, off = TABLEAUS[name], tuple(jnp.asarray(v) for v in driven_exactly(0.0)), []
    for h in (0.8, 0.4, 0.2) if name == "DOP853" else (0.2, 0.1, 0.05):
        out = step(tableau, driven, y0, h)
        path = StepInterpolation(t0=0.0, t1=h, y0=y0, y1=out.y, k=out.dense)
        ts = h * np.linspace(0.1, 0.9, 9)
        off.append(max(np.abs(np.stack(path.evaluate(s)) - driven_exactly(s)).max() for s in ts))
    assert slopes(off)[-1] > {"Tsit5": 4.7, "Bosh3": 3.7, "DOP853": 7.5}[name]


@every
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("small", [1.0, 1e-7])
def test_the_stiffness_of_a_small_fast_variable_is_seen(name, forced, small):
    # y1 is slow and large; y2 follows it with the eigenvalue -1000, and has a small deviation left.
    def f(t, y, args):
        a, b = y
        target = small * (a + (jnp.sin(t) if forced else 0.0))
        return (-a + (jnp.cos(t) if forced else 0.0), -1000 * (b - target))

    h, y0 = 2e-3, (jnp.asarray(1.0), jnp.asarray(small * 1.02))
    out = step(TABLEAUS[name], f, y0, h, autonomous=not forced)
    assert 700 < float(out.rate) < 1500


@every
def test_a_forced_slow_variable_is_not_called_stiff(name):
    out = step(TABLEAUS[name], lambda t, y, args: (-(y[0] - jnp.cos(500 * t)),), (jnp.asarray(1.0),), 4e-3)
    assert float(out.rate) < 5


@every
def test_a_step_that_overflows_is_refused(name):
    out = step(TABLEAUS[name], lambda t, y, args: (jnp.exp(300 * y[0]),), (jnp.asarray(1.0),), 1e3)
    assert np.isinf(out.error[0])
    assert np.isnan(out.y[0])

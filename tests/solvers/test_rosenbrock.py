"""The Rosenbrock methods: order, dense output, mass matrices, states, derivatives, refusal of bad solves."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from symdeq._errors import ModelError, UnsupportedError
from symdeq.solvers import RODAS5P, ROSENBROCK23, MassTerm, Rodas5P, Rosenbrock23, StepInterpolation, linearise
from symdeq.solvers.rosenbrock import rosenbrock_step
from symdeq.solvers.step import StepInput

from .problems import (
    ROBER_AT_1E5,
    ROBER_K,
    SparseLinearisation,
    SparseTerm,
    driven,
    driven_exactly,
    rober,
    slopes,
    solve,
    stacked,
    table,
)

METHODS = {"Rodas5P": (Rodas5P(), 5, 4), "Rosenbrock23": (Rosenbrock23(), 2, 2)}
both = pytest.mark.parametrize("method", METHODS)


def errors(f, solver, y0, exact, t1=2.0, steps=(16, 32, 64), **more):
    """Errors at the end and the largest ones between the steps, for halved steps."""
    ts = np.linspace(0.0137, t1, 61)
    at_end, dense = [], []
    for n in steps:
        ys = table(solve(f, solver, y0, t1, dt0=t1 / n, ts=jnp.asarray(ts), **more).ys)
        off = np.abs(ys - exact(ts))
        at_end.append(off[:, -1].max())
        dense.append(off.max())
    return at_end, dense


@both
@pytest.mark.parametrize("layout", ["scalars", "array"])
def test_order_on_a_nonlinear_problem_that_depends_on_time(method, layout):
    solver, order, _ = METHODS[method]
    f, y0 = driven, tuple(jnp.asarray(v) for v in driven_exactly(0.0))
    if layout == "array":
        f, y0 = stacked(driven), jnp.stack(y0)
    at_end, dense = errors(f, solver, y0, driven_exactly)
    assert np.all(slopes(at_end) > order - 0.2)
    assert np.all(slopes(dense) > order - 0.25)
    assert solver.order(None) == order


@both
def test_order_of_the_dense_output_within_one_step(method):
    # From exact values over one step, so that only the interpolant's own error is seen: order q gives h^(q+1).
    solver, _, dense_order = METHODS[method]
    off = []
    for h in (0.4, 0.2, 0.1, 0.05):
        ts = h * np.linspace(0.1, 0.9, 9)
        y0 = tuple(jnp.asarray(v) for v in driven_exactly(0.0))
        ys = table(solve(driven, solver, y0, h, dt0=h, ts=jnp.asarray(ts)).ys)
        off.append(np.abs(ys - driven_exactly(ts)).max())
    assert slopes(off)[-1] > dense_order + 0.7


@both
def test_order_of_the_error_estimate(method):
    solver, _, _ = METHODS[method]
    y0 = tuple(jnp.asarray(v) for v in driven_exactly(0.0))
    estimates = []
    for h in (0.1, 0.05, 0.025):
        out = rosenbrock_step(
            solver.tableau,
            StepInput(dfx.ODETerm(driven), jnp.asarray(0.0), jnp.asarray(h), y0, driven(0.0, y0, None), None),
        )
        estimates.append(max(float(abs(v)) for v in out.error))
    assert abs(slopes(estimates)[-1] - solver.error_order(None)) < 0.4


def _algebraic(t, y, args):
    # y' = -z + sin t, 0 = z - y² - sin t, in other words y' = -y²
    y, z = y
    return (jnp.sin(t) - z, z - y * y - jnp.sin(t))


def _algebraic_exactly(t):
    return np.stack([1 / (1 + t), 1 / (1 + t) ** 2 + np.sin(t)])


@both
@pytest.mark.parametrize("layout", ["scalars", "array"])
def test_order_on_a_differential_algebraic_equation_of_index_1(method, layout):
    solver, order, dense_order = METHODS[method]
    f, y0 = _algebraic, (jnp.asarray(1.0), jnp.asarray(1.0))
    if layout == "array":
        f, y0 = stacked(_algebraic), jnp.stack(y0)
    at_end, dense = errors(MassTerm(f, np.diag([1.0, 0.0])), solver, y0, _algebraic_exactly, steps=(32, 64, 128))
    assert np.all(slopes(at_end) > order - 0.2)
    assert np.mean(slopes(dense)) > dense_order - 0.4  # in the algebraic variable nothing adds an order


@both
def test_a_full_mass_matrix_is_the_same_as_its_inverse_on_the_right(method):
    solver, order, _ = METHODS[method]
    m = np.array([[2.0, 1.0], [1.0, 3.0]])

    def multiplied(t, y, args):
        f = driven(t, y, args)
        return tuple(m[i, 0] * f[0] + m[i, 1] * f[1] for i in range(2))

    y0 = tuple(jnp.asarray(v) for v in driven_exactly(0.0))
    at_end, _ = errors(MassTerm(multiplied, m), solver, y0, driven_exactly)
    assert np.all(slopes(at_end) > order - 0.2)


@both
def test_step_size_control_meets_the_tolerance(method):
    solver, _, _ = METHODS[method]
    y0 = tuple(jnp.asarray(v) for v in driven_exactly(0.0))
    for tolerance in (1e-4, 1e-6):
        sol = solve(driven, solver, y0, 2.0, tolerance=tolerance)
        assert np.abs(table(sol.ys)[:, -1] - driven_exactly(2.0)).max() < 20 * tolerance


def test_the_error_of_the_dense_output_is_seen_where_the_ends_of_the_step_are_exact():
    # Prothero and Robinson's equation in the stiff limit: y follows t⁵, whatever the step.
    def f(t, y, args):
        return (-1e9 * (y[0] - t**5) + 5 * t**4,)

    start = StepInput(
        dfx.ODETerm(f), jnp.asarray(0.0), jnp.asarray(1.0), (jnp.asarray(0.0),), (jnp.asarray(0.0),), None
    )
    out = rosenbrock_step(RODAS5P, start)
    np.testing.assert_allclose(out.y[0], 1.0, rtol=1e-8)
    path = StepInterpolation(t0=0.0, t1=1.0, y0=start.y, y1=out.y, k=out.dense)
    off = [float(path.evaluate(s)[0]) - s**5 for s in np.linspace(0, 1, 41)]
    np.testing.assert_allclose(2 * out.error[0], np.abs(off).max(), rtol=0.05)


def test_the_estimate_of_the_dense_output_vanishes_faster_than_the_error_where_the_equation_is_not_stiff():
    # The conditions up to order 5 on weights of the stages in their classical form: one row a rooted tree.
    stages, assumed = len(RODAS5P.b), np.array(RODAS5P.b_defect)
    g = np.linalg.inv(np.eye(stages) / RODAS5P.gamma - np.array(RODAS5P.c))
    alpha = np.array(RODAS5P.a) @ g
    beta, a = alpha + g, alpha.sum(axis=1)
    b = beta.sum(axis=1)
    low = [np.ones(stages), b, a**2, beta @ b, a**3, a * (alpha @ b), beta @ a**2, beta @ beta @ b]
    high = [a**4, a**2 * (alpha @ b), (alpha @ b) ** 2, a * (alpha @ a**2), a * (alpha @ beta @ b)]
    high += [beta @ a**3, beta @ (a * (alpha @ b)), beta @ beta @ a**2, beta @ beta @ beta @ b]
    np.testing.assert_allclose(np.array(low + high) @ g.T @ assumed, 0, atol=1e-14)
    np.testing.assert_allclose(np.array(low) @ g.T @ np.array(RODAS5P.b_error), 0, atol=1e-13)
    assert np.abs(np.array(high) @ g.T @ np.array(RODAS5P.b_error)).max() > 1e-2


def test_saved_values_of_prothero_and_robinson_s_equation_are_right_between_the_steps():
    def f(t, y, args):
        return (-1e6 * (y[0] - jnp.sin(t + np.pi / 4)) + jnp.cos(t + np.pi / 4),)

    ts = np.linspace(0.25, 10, 40)
    for tolerance in (1e-3, 1e-6, 1e-9):
        sol = solve(f, Rodas5P(), (jnp.asarray(np.sin(np.pi / 4)),), 10.0, tolerance=tolerance, ts=jnp.asarray(ts))
        assert np.abs(table(sol.ys)[0] - np.sin(ts + np.pi / 4)).max() < 3 * tolerance


def test_rober():
    for term, y0 in (
        (dfx.ODETerm(rober), tuple(jnp.asarray(v) for v in (1.0, 0.0, 0.0))),
        (dfx.ODETerm(stacked(rober)), jnp.array([1.0, 0.0, 0.0])),
        (SparseTerm(), tuple(jnp.asarray(v) for v in (1.0, 0.0, 0.0))),
    ):
        sol = solve(term, Rodas5P(), y0, 1e5, args=ROBER_K, tolerance=1e-6)
        y = table(sol.ys)[:, -1]
        np.testing.assert_allclose(y, ROBER_AT_1E5, rtol=5e-6)
        assert abs(y.sum() - 1) < 1e-12
        assert sol.stats["num_steps"] < 120


def test_backwards_in_time():
    y1 = tuple(jnp.asarray(v) for v in driven_exactly(1.0))
    sol = solve(driven, Rodas5P(), y1, 0.0, t0=1.0, dt0=-1e-3, tolerance=1e-8)
    np.testing.assert_allclose(table(sol.ys)[:, -1], driven_exactly(0.0), rtol=1e-6)
    off = [
        np.abs(table(solve(driven, Rodas5P(), y1, 0.0, t0=1.0, dt0=-1 / n).ys)[:, -1] - driven_exactly(0.0)).max()
        for n in (8, 16, 32)
    ]
    assert np.all(slopes(off) > 4.6)


def test_any_tree_of_arrays():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 5)) / 2
    a[0] *= 1e3 * np.sign(-a[0, 0])
    flat0 = rng.normal(size=5)

    def tree(v):
        return {"x": jnp.reshape(v[:4], (2, 2)), "y": [v[4]]}

    def f(t, y, args):
        return tree(jnp.asarray(a) @ jnp.concatenate([y["x"].reshape(-1), y["y"][0][None]]))

    sol = solve(f, Rodas5P(), tree(jnp.asarray(flat0)), 1.0, tolerance=1e-8)
    values, vectors = np.linalg.eig(a)
    exact = np.real(vectors @ (np.exp(values) * np.linalg.solve(vectors, flat0)))
    assert sol.ys["x"].shape == (1, 2, 2)
    np.testing.assert_allclose(sol.ys["x"][0].reshape(-1), exact[:4], rtol=1e-6)
    np.testing.assert_allclose(sol.ys["y"][0][0], exact[4], rtol=1e-6)


@pytest.mark.parametrize("layout", ["scalars", "array"])
def test_single_precision_stays_single(layout):
    k = tuple(jnp.asarray(v, jnp.float32) for v in ROBER_K)
    y0 = tuple(jnp.asarray(v, jnp.float32) for v in (1.0, 0.0, 0.0))
    f = rober
    if layout == "array":
        f, y0 = stacked(rober), jnp.stack(y0)
    sol = solve(f, Rodas5P(), y0, jnp.float32(40.0), t0=jnp.float32(0.0), dt0=jnp.float32(1e-4), args=k, tolerance=1e-4)
    assert all(v.dtype == jnp.float32 for v in jax.tree.leaves(sol.ys))
    np.testing.assert_allclose(table(sol.ys)[:, -1], [0.71582707, 9.1855e-6, 0.28416375], rtol=2e-3)


ADJOINTS = {
    "scalars": (dfx.RecursiveCheckpointAdjoint(), "rev"),
    "scalars forwards": (dfx.ForwardMode(), "fwd"),
    "array": (dfx.RecursiveCheckpointAdjoint(), "rev"),
    "array forwards": (dfx.ForwardMode(), "fwd"),
}


@both
@pytest.mark.parametrize("case", ADJOINTS)
def test_gradients_of_fixed_steps_are_exact(method, case):
    # Fixed steps make a smooth function of everything, so differences of it are a reference.
    def f(t, y, p):
        a, b = y
        return (p[0] * jnp.sin(t) - a * b, p[1] * a * a - b)

    def end(p, y0, t1):
        field, start = (f, (y0[0], y0[1])) if case.startswith("scalars") else (stacked(f), y0)
        ys = solve(field, METHODS[method][0], start, t1, args=p, dt0=t1 / 6, adjoint=adjoint, max_steps=8).ys
        return sum(jnp.sum(v[-1] ** 2) for v in jax.tree.leaves(ys))

    adjoint, mode = ADJOINTS[case]
    point = (jnp.array([1.3, 0.7]), jnp.array([0.8, 0.4]), jnp.asarray(1.1))
    check_grads(jax.jit(end), point, order=1, modes=[mode], rtol=1e-6, atol=1e-8)


def test_gradient_of_a_decay_has_its_closed_form():
    def end(k, y0):
        return solve(lambda t, y, k: (-k * y[0],), Rodas5P(), (y0,), 2.0, args=k, tolerance=1e-9).ys[0][-1]

    value, (dk, dy0) = jax.jit(jax.value_and_grad(end, argnums=(0, 1)))(jnp.asarray(0.7), jnp.asarray(1.5))
    np.testing.assert_allclose([value, dk, dy0], np.exp(-1.4) * np.array([1.5, -2.0 * 1.5, 1.0]), rtol=1e-7)


def test_gradient_of_rober_agrees_in_both_layouts_and_with_differences():
    def end(k, term, y0, tolerance=1e-8):
        sol = solve(term, Rodas5P(), y0, 1e3, args=(k[0], k[1], k[2]), tolerance=tolerance)
        return sol.ys[-1][-1] if isinstance(y0, tuple) else sol.ys[-1, -1]

    k, scalars = jnp.array(ROBER_K), tuple(jnp.asarray(v) for v in (1.0, 0.0, 0.0))
    sparse = jax.jit(jax.grad(lambda k: end(k, SparseTerm(), scalars)))(k) * k
    dense = jax.jit(jax.grad(lambda k: end(k, dfx.ODETerm(stacked(rober)), jnp.stack(scalars))))(k) * k
    np.testing.assert_allclose(sparse, dense, rtol=1e-6)
    tight = jax.jit(lambda k: end(k, SparseTerm(), scalars, 1e-11))
    for i in range(3):
        up, down = (float(tight(k.at[i].multiply(np.exp(s)))) for s in (1e-3, -1e-3))
        np.testing.assert_allclose(sparse[i], (up - down) / 2e-3, rtol=1e-4)


def test_traced_values_hidden_in_a_closure_are_differentiated():
    def end(k):
        scale = jnp.exp(k)  # a traced value that the vector field closes over
        return solve(lambda t, y, args: (-scale * y[0],), Rodas5P(), (jnp.asarray(1.0),), 1.0, tolerance=1e-9).ys[0][-1]

    k = 0.3
    np.testing.assert_allclose(jax.jit(jax.grad(end))(k), -np.exp(k) * np.exp(-np.exp(k)), rtol=1e-6)


def test_a_step_that_overflows_is_rejected_and_leaves_the_gradient_alone():
    def end(a):
        # A first step far too long takes the exponential to infinity.
        sol = solve(
            lambda t, y, a: (a * jnp.exp(y[0]),),
            Rodas5P(),
            (jnp.asarray(0.0),),
            0.5,
            args=a,
            dt0=0.5 - 1e-9,
            tolerance=1e-8,
        )
        return sol.ys[0][-1], sol.stats["num_rejected_steps"]

    (value, rejected), gradient = jax.jit(jax.value_and_grad(end, has_aux=True))(jnp.asarray(1.9))
    assert rejected > 0
    np.testing.assert_allclose([value, gradient], [-np.log(1 - 0.95), 0.5 / (1 - 0.95)], rtol=1e-5)


def test_an_inaccurate_or_singular_solve_is_rejected():
    # 1 / (h γ) equals the eigenvalue 1 / γ for h = 1: the matrix is singular there, and nearly so beside it.
    gamma = ROSENBROCK23.gamma
    for h in (1.0, 1.0 + 1e-13):
        y = (jnp.asarray(1.0),)
        f = lambda t, y, args: (y[0] / gamma,)  # noqa: E731
        out = rosenbrock_step(
            ROSENBROCK23, StepInput(dfx.ODETerm(f), jnp.asarray(0.0), jnp.asarray(h), y, f(0.0, y, None), None)
        )
        assert h != 1.0 or (np.isinf(out.error[0]) and np.isnan(out.y[0]))
    sol = solve(f, Rosenbrock23(), y, 1.5, dt0=1.0, tolerance=1e-7)
    assert sol.stats["num_rejected_steps"] > 0
    np.testing.assert_allclose(sol.ys[0][-1], np.exp(1.5 / gamma), rtol=1e-4)


class _Sabotaged(SparseLinearisation):
    def correction(self, shift, x, b):
        return tuple(jnp.where(shift < 1 / (RODAS5P.gamma * 1e-3), 1e-3 * abs(v), 0.0) for v in x)


class _SabotagedTerm(SparseTerm):
    pass


@linearise.register(_SabotagedTerm)
def _(term, t, y, args):
    good: Any = linearise(SparseTerm(), t, y, args)
    return _Sabotaged(jacobian=good.jacobian)


def test_an_inaccurate_factorisation_makes_the_steps_smaller_or_the_result_nan():
    y0 = tuple(jnp.asarray(v) for v in (1.0, 0.0, 0.0))
    sol = solve(_SabotagedTerm(), Rodas5P(), y0, 0.1, args=ROBER_K, tolerance=1e-4, saveat=dfx.SaveAt(steps=True))
    steps = np.diff(np.asarray(sol.ts)[np.isfinite(sol.ts)])
    assert steps.max() <= 1e-3
    assert sol.stats["num_rejected_steps"] > 0
    assert np.isnan(solve(_SabotagedTerm(), Rodas5P(), y0, 0.1, args=ROBER_K, dt0=0.05).ys[0][-1])


def test_a_jump_refreshes_the_vector_field():
    # f changes sign at t = 1, so that a vector field kept from before the jump would spoil the first step behind it.
    def f(t, y, args):
        return (jnp.where(t < 1, -y[0], y[0]),)

    control = dfx.ClipStepSizeController(dfx.PIDController(rtol=1e-8, atol=1e-10), jump_ts=jnp.array([1.0]))
    sol = solve(f, Rodas5P(), (jnp.asarray(1.0),), 2.0, dt0=0.1, stepsize_controller=control)
    np.testing.assert_allclose(sol.ys[0][-1], 1.0, rtol=1e-6)


def test_batches_equal_a_loop():
    def end(k):
        y0 = tuple(jnp.asarray(v) for v in (1.0, 0.0, 0.0))
        return solve(SparseTerm(), Rodas5P(), y0, 100.0, args=(0.04 * k, 3e7 * k, 1e4), tolerance=1e-6).ys

    ks = jnp.array([0.5, 1.0, 2.0])
    batch = table(jax.jit(jax.vmap(end))(ks))
    single = jax.jit(end)
    for i, k in enumerate(ks):
        np.testing.assert_allclose(batch[:, i], table(single(k)), rtol=1e-9)


def test_refusals():
    with pytest.raises(UnsupportedError, match="complex"), pytest.warns(UserWarning, match="Complex"):
        solve(lambda t, y, args: -y, Rodas5P(), jnp.asarray(1.0 + 0j), 1.0, dt0=0.1)
    with pytest.raises(ModelError, match=r"shape \(2, 3\)"):
        MassTerm(rober, np.ones((2, 3)))
    with pytest.raises(ModelError, match="2 rows, the state 3 numbers"):
        solve(MassTerm(stacked(rober), np.eye(2)), Rodas5P(), jnp.ones(3), 1.0, args=ROBER_K, dt0=0.1)
    with pytest.raises(UnsupportedError, match="mass matrix"):
        solve(MassTerm(stacked(rober), np.eye(3)), dfx.Tsit5(), jnp.ones(3), 1.0, args=ROBER_K, dt0=0.1)
    driven_by_a_path = dfx.ControlTerm(lambda t, y, args: y, lambda t0, t1: 2 * (t1 - t0))
    for term in (driven_by_a_path, dfx.MultiTerm(dfx.ODETerm(rober), dfx.ODETerm(rober))):
        with pytest.raises(UnsupportedError, match="Term"):
            solve(term, Rodas5P(), tuple(jnp.ones(3)), 1.0, args=ROBER_K, dt0=0.1)

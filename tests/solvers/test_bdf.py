"""The multistep method: orders, dense output, accuracy, mass matrices, derivatives, what it does with a failed step."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy.integrate import solve_ivp

import symdeq as sd
from symdeq._errors import ModelError, UnsupportedError
from symdeq.solvers import BDF, FirstStep, MassTerm
from symdeq.solvers import bdf_table as tables
from symdeq.solvers.bdf_control import Errors, decide
from tests.zoo import PROBLEMS, brusselator_1d
from tests.zoo.problem import Problem

from .problems import ROBER_K, driven, driven_exactly, rober, slopes, solve, stacked, table

DRIVEN = stacked(driven)
START = jnp.asarray(driven_exactly(0.0))


def adaptive(tolerance, atol=None):
    """The controller of `sd.solve`, which chooses the first step too."""
    tolerance = jnp.asarray(tolerance)  # new tolerances do not compile anew
    return FirstStep(dfx.PIDController(rtol=tolerance, atol=tolerance * 1e-3 if atol is None else atol))


def exact_differences(exact, t, h):
    """∇ … ∇⁵ of a known solution at t, spacing h, shape (5, n)."""
    values = np.stack([exact(t - i * h) for i in range(tables.MAX_ORDER + 1)])
    rows = []
    for _ in range(tables.MAX_ORDER):
        values = values[:-1] - values[1:]
        rows.append(values[0])
    return jnp.asarray(np.stack(rows))


def at_fixed_order(term, order, exact, n, t0=0.0, t1=2.0):
    """The largest errors at the ends of n equal steps of one order, and in their middles, from an exact start."""
    h = (t1 - t0) / n
    solver = BDF(max_order=order, rtol=1e-11, atol=1e-11)
    y0 = jnp.asarray(exact(t0))
    state = solver.init(term, t0, t0 + h, y0, None)
    start = lambda s: (s.table, s.h, s.order)  # noqa: E731
    state = eqx.tree_at(start, state, (exact_differences(exact, t0, h), jnp.asarray(h), jnp.asarray(order, jnp.int32)))

    def step(carry, t):
        y, state = carry
        y, _, dense, state, result = solver.step(term, t, t + h, y, None, state, False)
        middle = solver.interpolation_cls(t0=t, t1=t + h, **dense).evaluate(t + h / 2)
        state = eqx.tree_at(lambda s: s.order, state, jnp.asarray(order, jnp.int32))
        return (y, state), (y, middle, result == dfx.RESULTS.successful)

    ts = t0 + h * jnp.arange(n)
    _, (ends, middles, ok) = jax.jit(lambda s: lax.scan(step, (y0, s), ts))(state)
    assert ok.all()
    ts = np.asarray(ts)
    return np.abs(ends - exact(ts + h).T).max(), np.abs(middles - exact(ts + h / 2).T).max()


@pytest.mark.parametrize("order", range(1, 6))
def test_order_of_convergence_of_the_steps_and_of_the_dense_output(order):
    steps = (40, 80, 160) if order < 5 else (30, 60, 120)
    ends, middles = zip(*(at_fixed_order(dfx.ODETerm(DRIVEN), order, driven_exactly, n) for n in steps), strict=True)
    assert np.all(slopes(ends) > order - 0.25)
    assert np.all(slopes(middles) > order - 0.25)


def _algebraic(t, y, args):
    # y' = -z + sin t, 0 = z - y² - sin t, in other words y' = -y²
    return jnp.stack([jnp.sin(t) - y[1], y[1] - y[0] * y[0] - jnp.sin(t)])


def _algebraic_exactly(t):
    return np.stack([1 / (1 + t), 1 / (1 + t) ** 2 + np.sin(t)])


@pytest.mark.parametrize("order", range(1, 6))
def test_order_on_a_differential_algebraic_equation_of_index_1(order):
    term = MassTerm(_algebraic, np.diag([1.0, 0.0]))
    ends = [at_fixed_order(term, order, _algebraic_exactly, n, t0=0.5)[0] for n in (20, 40, 80)]
    assert np.all(slopes(ends) > order - 0.35)


def test_a_change_of_step_keeps_the_polynomial():
    rng = np.random.default_rng(0)
    for order in range(1, 6):
        polynomial = np.polynomial.Polynomial(rng.normal(size=order + 1))
        exact = lambda t: polynomial(np.asarray(t)[None])  # noqa: B023, E731
        old, new = exact_differences(exact, 1.0, 0.1), exact_differences(exact, 1.0, 0.037)
        moved, rise, _ = tables.predicted(old, jnp.asarray(0.37), jnp.asarray(order))
        np.testing.assert_allclose(moved[:order], new[:order], rtol=0, atol=1e-13)
        np.testing.assert_array_equal(moved[order:], old[order:])
        np.testing.assert_allclose(exact(1.0) + rise, exact(1.037), rtol=1e-12)


def test_the_order_that_promises_the_longest_step_is_taken():
    def decided(lower, same, higher, order=3, equal_steps=9, converged=True):
        errors = Errors(*(jnp.asarray(v) for v in (lower, same, higher)))
        d = decide(errors, jnp.asarray(converged), jnp.asarray(order), jnp.asarray(equal_steps), 5)
        return int(d.order), 0.9 / float(d.shown), bool(d.good)

    order, factor, good = decided(1e-2, 1e-3, 1e-6)  # 1e-6 to the power -1/5 is 16, of which 1.4 are held back
    assert (order, good) == (4, True)
    assert factor == pytest.approx(5.0)  # the most
    assert decided(1e-1, 0.02, 0.05)[:2] == (3, pytest.approx(0.02**-0.25 / 1.2))
    assert decided(1e-5, 0.5, 0.5)[0] == 2
    assert decided(1e-5, 0.5, 0.5, equal_steps=3)[:2] == (3, pytest.approx(0.9 / 0.95))  # too early to tell
    assert decided(1e-9, 0.5, 0.5, order=1)[0] == 1
    assert decided(0.9, 0.5, 0.0, order=5)[0] == 5
    for bad in (decided(1e-9, 1.01, 1e-9), decided(1e-9, 1e-9, 1e-9, converged=False), decided(0.0, np.nan, 0.0)):
        assert not bad[2]
    assert decided(1e-9, 32.0, 1e-9)[1] == pytest.approx(0.9 * 32**-0.25)


def error_at_the_end(problem: Problem, rtol: float) -> float:
    """Largest error at t1 in tolerances, for the model as symdeq compiles it."""
    atol = problem.atol * rtol / problem.rtol
    model = sd.compile(problem.build())
    sol = sd.solve(model, problem.t1, problem.t0, [problem.t1], rtol=rtol, atol=atol, solver=BDF(), max_steps=50_000)
    expected = np.array(problem.reference[problem.t1])
    found = np.array([float(sol[name][0]) for name in problem.states])
    return float(np.max(np.abs(found - expected) / (np.abs(expected) * rtol + atol)))


@pytest.mark.parametrize("name", ["rober", "hires", "pollu", "orego", "van_der_pol", "brusselator_1d_32"])
def test_published_problems_within_50_tolerances(name):
    problem = brusselator_1d(32) if name == "brusselator_1d_32" else PROBLEMS[name]
    for rtol in (1e-3, 1e-6, 1e-9):
        assert error_at_the_end(problem, rtol) < 50


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
def test_fewer_evaluations_than_scipy_and_a_smaller_error(rtol):
    p = brusselator_1d(32)
    end, atol = np.array(p.reference[p.t1]), rtol * 1e-3
    theirs = solve_ivp(
        lambda t, y: p.numpy_rhs(t, y, p.params),
        (p.t0, p.t1),
        p.y0,
        "BDF",
        rtol=rtol,
        atol=atol,
        jac=lambda t, y: p.numpy_jac(t, y, p.params),
    )
    saveat = dfx.SaveAt(t1=True, solver_state=True)
    ours = solve(
        p.field,
        BDF(),
        jnp.asarray(p.y0),
        p.t1,
        args=p.params,
        dt0=None,
        stepsize_controller=adaptive(rtol),
        saveat=saveat,
    )
    assert ours.solver_state is not None
    stats, rejected = ours.solver_state.stats, int(ours.stats["num_rejected_steps"])
    # A rejected step took at most eight evaluations, which its state, dropped with it, cannot tell.
    assert int(stats.iterations) + 8 * rejected < 1.3 * theirs.nfev
    assert int(stats.iterations) < theirs.nfev
    assert np.abs(ours.ys[-1] - end).max() < np.abs(theirs.y[:, -1] - end).max()
    accepted = int(ours.stats["num_accepted_steps"])
    assert int(stats.orders.sum()) == accepted
    assert int(stats.factorisations) < 0.3 * accepted


def test_dense_output_meets_the_tolerance():
    ts = np.linspace(0.0, 2.0, 201)[1:]
    for tolerance in (1e-4, 1e-6, 1e-8):
        sol = solve(DRIVEN, BDF(), START, 2.0, dt0=None, stepsize_controller=adaptive(tolerance), ts=jnp.asarray(ts))
        assert np.abs(table(sol.ys) - driven_exactly(ts)).max() < 20 * tolerance
    dense = solve(DRIVEN, BDF(), START, 2.0, stepsize_controller=adaptive(1e-8), saveat=dfx.SaveAt(dense=True))
    np.testing.assert_allclose(jax.vmap(dense.evaluate)(jnp.asarray(ts)).T, driven_exactly(ts), atol=1e-6)
    np.testing.assert_allclose(dense.derivative(0.7)[0], -np.cos(0.7) / (2 + np.sin(0.7)) ** 2, rtol=1e-4)


def test_the_highest_order_can_be_limited():
    saveat = dfx.SaveAt(t1=True, solver_state=True)
    sol = solve(DRIVEN, BDF(max_order=2), START, 2.0, stepsize_controller=adaptive(1e-7), saveat=saveat)
    assert sol.solver_state is not None
    assert np.all(sol.solver_state.stats.orders[2:] == 0)
    np.testing.assert_allclose(sol.ys[-1], driven_exactly(2.0), atol=2e-6)


def test_a_differential_algebraic_equation_meets_the_tolerance():
    # The algebraic variable starts with a slope that no equation gives directly.
    for tolerance in (1e-4, 1e-6, 1e-8, 1e-10):
        sol = solve(
            MassTerm(_algebraic, np.diag([1.0, 0.0])),
            BDF(),
            jnp.ones(2),
            2.0,
            dt0=1e-4,
            stepsize_controller=adaptive(tolerance),
        )
        assert np.abs(sol.ys[-1] - _algebraic_exactly(2.0)).max() < 20 * tolerance


def test_a_full_mass_matrix_is_the_same_as_its_inverse_on_the_right():
    m = jnp.array([[2.0, 1.0], [1.0, 3.0]])
    term = MassTerm(lambda t, y, args: m @ DRIVEN(t, y, args), m)
    sol = solve(term, BDF(), START, 2.0, stepsize_controller=adaptive(1e-8))
    np.testing.assert_allclose(sol.ys[-1], driven_exactly(2.0), atol=2e-7)


def test_any_tree_of_arrays_is_one_array():
    rng = np.random.default_rng(0)
    a = jnp.asarray(-np.diag(np.geomspace(1.0, 1e4, 5)) + rng.normal(size=(5, 5)))
    flat0 = jnp.asarray(rng.normal(size=5))

    def tree(t, y, args):
        v = jnp.concatenate([y["a"][None], y["b"].ravel()])
        w = a @ v
        return {"a": w[0], "b": w[1:].reshape(2, 2)}

    controller = adaptive(1e-6)
    flat = solve(lambda t, y, args: a @ y, BDF(), flat0, 1.0, stepsize_controller=controller)
    y0 = {"a": flat0[0], "b": flat0[1:].reshape(2, 2)}
    same = solve(tree, BDF(), y0, 1.0, stepsize_controller=controller)
    # The norm weighs leaves, so the steps differ.
    np.testing.assert_allclose(same.ys["a"], flat.ys[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(same.ys["b"].ravel(), flat.ys[0, 1:], rtol=1e-4, atol=1e-6)
    scalars = solve(rober, BDF(), tuple(jnp.array(v) for v in (1.0, 0.0, 0.0)), 1e3, args=ROBER_K, tolerance=1e-6)
    array = solve(stacked(rober), BDF(), jnp.array([1.0, 0.0, 0.0]), 1e3, args=ROBER_K, tolerance=1e-6)
    np.testing.assert_allclose(table(scalars.ys), table(array.ys), rtol=1e-5)


def test_single_precision():
    y0 = jnp.array([1.0, 0.0, 0.0], jnp.float32)
    times = (jnp.float32(0.0), jnp.float32(1e5))
    sol = dfx.diffeqsolve(
        dfx.ODETerm(stacked(rober)),
        BDF(),
        *times,
        None,
        y0,
        args=jnp.array(ROBER_K, jnp.float32),
        stepsize_controller=adaptive(1e-4, 1e-8),
        throw=False,
    )
    assert sol.ys is not None
    assert sol.ys.dtype == jnp.float32
    np.testing.assert_allclose(sol.ys[-1], [0.0178659, 7.27475e-8, 0.982134], rtol=5e-3)


def test_backwards_in_time():
    y1 = jnp.asarray(driven_exactly(1.0))
    ts = jnp.linspace(1.0, 0.0, 30)
    sol = solve(DRIVEN, BDF(), y1, 0.0, t0=1.0, dt0=None, stepsize_controller=adaptive(1e-8), ts=ts)
    np.testing.assert_allclose(sol.ys.T, driven_exactly(np.asarray(ts)), atol=1e-6)


def rober_at(k, y0, t0, t1, tolerance=1e-7, adjoint=None):
    more = {} if adjoint is None else {"adjoint": adjoint}
    control = adaptive(tolerance)
    sol = solve(stacked(rober), BDF(), y0, t1, t0=t0, args=k, dt0=None, stepsize_controller=control, **more)
    return sol.ys[-1]


def test_gradients_of_rober_agree_with_differences_in_both_modes():
    k, y0 = jnp.array(ROBER_K), jnp.array([1.0, 0.0, 0.0])
    reverse = jax.jit(jax.jacrev(lambda k: rober_at(k, y0, 0.0, 1e3)))(k) * k
    forward = jax.jit(jax.jacfwd(lambda k: rober_at(k, y0, 0.0, 1e3, adjoint=dfx.ForwardMode())))(k) * k
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-16)
    tight = jax.jit(lambda k: rober_at(k, y0, 0.0, 1e3, 1e-12))
    for i in range(3):
        up, down = (tight(k.at[i].multiply(np.exp(s))) for s in (1e-3, -1e-3))
        np.testing.assert_allclose(reverse[:, i], (up - down) / 2e-3, rtol=5e-5)


def test_gradients_by_times_and_initial_values_have_their_closed_forms():
    def end(k, y0, t0, t1):
        f = lambda t, y, k: -k * jnp.cos(t) * y  # noqa: E731
        return solve(f, BDF(), y0[None], t1, t0=t0, args=k, dt0=None, stepsize_controller=adaptive(1e-9)).ys[-1, 0]

    k, y0, t0, t1 = (jnp.asarray(v) for v in (0.7, 1.5, 0.3, 2.0))
    exact = lambda k, y0, t0, t1: y0 * jnp.exp(-k * (jnp.sin(t1) - jnp.sin(t0)))  # noqa: E731
    found = jax.jit(jax.value_and_grad(end, argnums=(0, 1, 2, 3)))(k, y0, t0, t1)
    expected = jax.value_and_grad(exact, argnums=(0, 1, 2, 3))(k, y0, t0, t1)
    np.testing.assert_allclose(np.hstack(found), np.hstack(expected), rtol=3e-7)


def test_second_derivatives():
    def end(k):
        more = {"stepsize_controller": adaptive(1e-9), "adjoint": dfx.ForwardMode()}
        return solve(lambda t, y, k: -k * y * y, BDF(), jnp.ones(1), 2.0, args=k, dt0=1e-4, **more).ys[-1, 0]

    exact = lambda k: 1 / (1 + 2 * k)  # noqa: E731
    for derivative in (jax.jacfwd, lambda f: jax.jacfwd(jax.jacfwd(f))):
        np.testing.assert_allclose(jax.jit(derivative(end))(0.7), derivative(exact)(0.7), rtol=1e-6)


def test_traced_values_hidden_in_a_closure_are_differentiated():
    def end(k):
        scale = jnp.exp(k)  # a traced value that the vector field closes over
        return solve(lambda t, y, args: -scale * y, BDF(), jnp.ones(1), 1.0, tolerance=1e-9).ys[-1, 0]

    k = 0.3
    np.testing.assert_allclose(jax.jit(jax.grad(end))(k), -np.exp(k) * np.exp(-np.exp(k)), rtol=1e-6)


def test_gradients_by_the_mass_matrix_and_through_algebraic_equations():
    def end(m, a):
        # m y' = -z, 0 = z - a y
        f = lambda t, y, a: jnp.stack([-y[1], y[1] - a * y[0]])  # noqa: E731
        term = MassTerm(f, jnp.zeros((2, 2)).at[0, 0].set(m))
        y0 = jnp.stack([jnp.ones(()), a])
        return solve(term, BDF(), y0, 1.0, args=a, dt0=1e-4, tolerance=1e-9).ys[-1]

    m, a = jnp.asarray(2.0), jnp.asarray(1.5)
    exact = lambda m, a: jnp.stack([jnp.exp(-a / m), a * jnp.exp(-a / m)])  # noqa: E731
    found, expected = jax.jit(jax.jacrev(end, argnums=(0, 1)))(m, a), jax.jacrev(exact, argnums=(0, 1))(m, a)
    np.testing.assert_allclose(np.stack(found), np.stack(expected), rtol=1e-6)


def test_a_failed_iteration_makes_the_step_smaller_and_leaves_the_gradient_alone():
    # A first step far too long leaves the domain of the square root.
    def end(a):
        f = lambda t, y, a: -a * jnp.sqrt(y)  # noqa: E731
        sol = solve(f, BDF(), jnp.ones(1), 1.5, args=a, dt0=1.4, tolerance=1e-8)
        return sol.ys[-1, 0], sol.stats["num_rejected_steps"]

    (value, rejected), gradient = jax.jit(jax.value_and_grad(end, has_aux=True))(jnp.asarray(1.2))
    assert rejected > 0
    np.testing.assert_allclose([value, gradient], [(1 - 0.9) ** 2, -2 * 0.1 * 0.75], rtol=1e-5)


def test_a_failed_iteration_is_never_silent_where_steps_are_fixed():
    f = lambda t, y, args: -jnp.sqrt(y)  # noqa: E731
    sol = solve(f, BDF(rtol=1e-6, atol=1e-9), jnp.ones(1), 6.0, dt0=3.0)
    assert sol.result == dfx.RESULTS.nonlinear_divergence
    assert np.isnan(sol.ys[-1, 0])


def test_steps_of_fixed_length():
    sol = solve(DRIVEN, BDF(rtol=1e-8, atol=1e-8), START, 2.0, dt0=1e-3)
    np.testing.assert_allclose(sol.ys[-1], driven_exactly(2.0), atol=1e-6)


def test_a_jump_starts_anew():
    # f changes sign at t = 1.
    def f(t, y, args):
        return jnp.where(t < 1, -y, y)

    for controller in (
        dfx.ClipStepSizeController(adaptive(1e-8), jump_ts=jnp.array([1.0])),
        dfx.ClipStepSizeController(adaptive(1e-8), step_ts=jnp.linspace(0, 2, 9)),
        adaptive(1e-8),
        dfx.PIDController(rtol=1e-8, atol=1e-10, pcoeff=0.3, icoeff=0.4),
        dfx.PIDController(rtol=1e-8, atol=1e-10, dtmax=0.05),
    ):
        sol = solve(f, BDF(), jnp.ones(1), 2.0, stepsize_controller=controller)
        np.testing.assert_allclose(sol.ys[-1], 1.0, rtol=2e-6)


def test_batches_equal_a_loop():
    def end(k):
        return rober_at(k, jnp.array([1.0, 0.0, 0.0]), 0.0, 100.0)

    ks = jnp.array(ROBER_K) * jnp.array([[0.5], [1.0], [2.0]])
    batch, single = jax.jit(jax.vmap(end))(ks), jax.jit(end)
    for k, y in zip(ks, batch, strict=True):
        np.testing.assert_allclose(y, single(k), rtol=1e-8)


def test_new_values_never_compile_again():
    traced = []

    @jax.jit
    def end(k, tolerance, t1):
        traced.append(0)
        return rober_at(k, jnp.array([1.0, 0.0, 0.0]), 0.0, t1, tolerance)

    k = jnp.array(ROBER_K)
    for args in ((k, 1e-4, 10.0), (2 * k, 1e-5, 10.0), (k, 1e-4, 20.0)):
        end(*args)
    assert len(traced) == 1


def test_refusals():
    for order in (0, 6, True):
        with pytest.raises(ModelError, match="order"):
            BDF(max_order=order)
    with pytest.raises(ModelError, match="both rtol and atol"):
        BDF(rtol=1e-6)
    with pytest.raises(ValueError, match="tolerances for the implicit solver"):
        solve(DRIVEN, BDF(), START, 1.0, dt0=0.1)
    with pytest.raises(UnsupportedError, match="complex"), pytest.warns(UserWarning, match="Complex"):
        solve(lambda t, y, args: -y, BDF(), jnp.asarray(1.0 + 0j), 1.0, dt0=0.1, tolerance=1e-6)

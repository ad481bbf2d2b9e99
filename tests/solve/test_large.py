"""Large models, which are array code and sparse elimination: solutions, gradients and the choice of method."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from tests.zoo.brusselator_1d import brusselator_1d
from tests.zoo.mass_action import mass_action


def scaled_error(sol: sd.Solution, states: tuple[str, ...], expected: np.ndarray, rtol: float, atol: float) -> float:
    found = np.stack([np.asarray(sol[name]) for name in states], axis=-1)
    return float(np.max(np.abs(found - expected) / (atol + rtol * np.abs(expected))))


def test_a_line_against_scipy() -> None:
    problem = brusselator_1d(60)
    ts = np.array([1.0, 4.0])
    expected = scipy.integrate.solve_ivp(
        problem.numpy_rhs, (0.0, 4.0), problem.y0, "Radau", ts, jac=problem.numpy_jac, args=(problem.params,),
        rtol=1e-9, atol=1e-11,
    ).y.T  # fmt: skip
    sol = sd.solve(sd.compile(problem.build()), saveat=ts, rtol=1e-6, atol=1e-8)
    assert scaled_error(sol, problem.states, expected, 1e-6, 1e-8) < 20


def test_a_network_against_scipy() -> None:
    problem = mass_action(80, 0)
    ts = np.array([problem.t1 / 100, problem.t1])
    assert problem.numpy_jac is not None
    expected = scipy.integrate.solve_ivp(
        problem.numpy_rhs, (0.0, problem.t1), problem.y0, "Radau", ts, jac=problem.numpy_jac, args=(problem.params,),
        rtol=1e-9, atol=1e-12,
    ).y.T  # fmt: skip
    model = sd.compile(problem.build())
    assert model.generated.vectorised
    for solver in ("auto", sd.BDF()):
        sol = sd.solve(model, saveat=ts, rtol=1e-6, atol=1e-9, solver=solver)
        assert scaled_error(sol, problem.states, expected, 1e-6, 1e-9) < 20


@pytest.mark.parametrize(
    "solver", [pytest.param(sd.Rodas5P(), id="Rodas5P"), pytest.param(sd.BDF(), id="BDF", marks=pytest.mark.slow)]
)
def test_the_gradient_of_a_large_model(solver) -> None:
    problem = brusselator_1d(50)
    model = sd.compile(problem.build())
    assert model.generated.vectorised

    def loss(a, rtol):
        sol = sd.solve(model.replace(a=a), 0.5, rtol=rtol, atol=1e-3 * rtol, solver=solver, saveat=[0.5])
        return jnp.sum(sol.ys**2)

    found = jax.grad(loss)(1.0, 1e-8)
    h = 1e-4
    expected = (loss(1.0 + h, 1e-10) - loss(1.0 - h, 1e-10)) / (2 * h)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_state_that_decays_to_nothing_rejects_no_steps() -> None:
    """Its equation is solved with large relative errors, which matter to nobody."""
    x = [sd.state(f"x{i}", 1.0) for i in range(80)]
    k = sd.parameter("k", 1.0)
    rates = [-1e3 * x[0] + 1e-30 * x[1] ** 2] + [
        k * (x[i - 1] - x[i]) * (1 + x[(7 * i) % 80] * x[(11 * i) % 80]) for i in range(1, 80)
    ]
    model = sd.compile(sd.System([Eq(D(v), r) for v, r in zip(x, rates, strict=True)], name="decaying"))
    assert model.generated.vectorised
    sol = sd.solve(model, 50.0, solver=sd.Rodas5P())
    assert int(sol.stats["num_rejected_steps"]) < int(sol.stats["num_accepted_steps"])


@pytest.mark.slow
def test_a_multistep_method_is_chosen_for_a_large_dense_rest() -> None:
    numbers = np.random.default_rng(0)
    n = 140
    x = [sd.state(f"x{i}", 1.0) for i in range(n)]
    couplings = 0.01 * numbers.normal(size=(n, n))
    rates = [
        sp.Add(-1e4 * v**3, *(float(c) * w for c, w in zip(row, x, strict=True)))
        for v, row in zip(x, couplings, strict=True)
    ]
    model = sd.compile(sd.System([Eq(D(v), r) for v, r in zip(x, rates, strict=True)], name="coupled"))
    sol = sd.solve(model, 10.0, saveat=[10.0])
    assert sol.method.name == "BDF"
    assert sol.ok
    assert "multistep" in sol.explain()
    short = sd.solve(model, 1e-3, saveat=[1e-3])
    assert short.method.name == "Tsit5/Rodas5P"
    assert sd.solve(model, 10.0, rtol=1e-3, saveat=[10.0]).method.name == "Tsit5/Rodas5P"


def test_a_large_model_without_parameters() -> None:
    x = [sd.state(f"x{i}", 1.0 + i) for i in range(80)]
    rates = [-3 * x[i] + x[i - 1] * x[(i + 1) % 80] / (1 + x[i] ** 2) for i in range(80)]
    model = sd.compile(sd.System([Eq(D(v), r) for v, r in zip(x, rates, strict=True)], name="bare"))
    assert model.generated.vectorised

    def rhs(t, y):
        return -3 * y + np.roll(y, 1) * np.roll(y, -1) / (1 + y**2)

    sol = sd.solve(model, 2.0, saveat=[2.0], rtol=1e-8, atol=1e-10)
    start = np.arange(80) + 1.0
    expected = scipy.integrate.solve_ivp(rhs, (0.0, 2.0), start, "Radau", rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(sol.ys[0], expected, rtol=1e-6)


def test_vmap_of_a_large_model_equals_single_solves() -> None:
    model = sd.compile(brusselator_1d(50).build())
    solve = lambda a: sd.solve(model.replace(a=a), 0.2, saveat=[0.2]).ys  # noqa: E731
    batch = jax.vmap(solve)(jnp.array([0.9, 1.1]))
    np.testing.assert_allclose(batch[1], solve(1.1), rtol=1e-9)


def test_explicit_methods_of_diffrax_take_array_code() -> None:
    model = sd.compile(brusselator_1d(50).build())
    sol = sd.solve(model, 0.01, saveat=[0.01], solver=dfx.Tsit5())
    np.testing.assert_allclose(sol.ys, sd.solve(model, 0.01, saveat=[0.01]).ys, rtol=1e-5)


def test_a_ring_of_nonlinear_constraints_against_scipy() -> None:
    """Newton's method finds the constraints' unknowns, and a state's own equation is integrated by SciPy."""
    n = 24
    x = [sd.state(f"x{i}", float(1 + 0.5 * np.sin(6 * i / n))) for i in range(n)]
    f = [sd.state(f"f{i}", sd.guess(0.5)) for i in range(n)]
    rates = [Eq(D(x[i]), f[i] - x[i]) for i in range(n)]
    fields = [Eq(0, f[i] + f[i] ** 3 - x[i] - (f[i - 1] + f[(i + 1) % n]) * 3 / 10) for i in range(n)]
    sol = sd.solve(sd.compile(sd.System(rates + fields, name="ring")), 5.0, saveat=[5.0])

    def field(y: np.ndarray) -> np.ndarray:
        eye = np.eye(n)
        neighbours = 0.3 * (np.roll(eye, 1, 0) + np.roll(eye, -1, 0))
        found = scipy.optimize.root(
            lambda z: z + z**3 - y - neighbours @ z, np.full(n, 0.5), jac=lambda z: np.diag(1 + 3 * z**2) - neighbours
        )
        assert found.success
        return found.x

    start = 1 + 0.5 * np.sin(6 * np.arange(n) / n)
    expected = scipy.integrate.solve_ivp(lambda t, y: field(y) - y, (0.0, 5.0), start, rtol=1e-9, atol=1e-11).y[:, -1:]
    assert scaled_error(sol, tuple(s.name for s in x), expected.T, 1e-6, 1e-9) < 20

"""Noise with a stiff drift: moments in closed form by a few dozen steps, paths, the choice of method, what fails."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from symdeq.solvers import Doubling

KEY = jax.random.key(2)
W1, W2 = sd.brownian("W1 W2")
x, y = sd.states(x=1.0, y=0.5)
k, s = sd.parameters(k=1e4, s=1.0)
TS = np.array([0.3, 1.0])
ROSENBROCK = sd.RosenbrockMilstein()


@pytest.fixture(scope="module")
def ou() -> sd.Model:
    return sd.compile(sd.System([Eq(D(x), -k * x + s * D(W1))], name="fast"))


def within(found, mean, variance):
    """Whether the moments of a normal variable are within four standard errors, at every time."""
    assert (np.abs(found.mean - mean) < 4 * np.sqrt(variance / found.count)).all()
    assert (np.abs(found.variance - variance) < 4 * variance * np.sqrt(2 / (found.count - 1))).all()


@pytest.mark.parametrize("size", [0.01, 1.0, 3.0])
def test_a_fast_ornstein_uhlenbeck_process_in_a_few_dozen_steps(ou, size):
    """Noise below the tolerance, seven times and twenty times above it: the variance is s^2 / (2 k)."""
    sol = sd.ensemble(ou.replace(s=size), {}, paths=800, key=KEY, t1=1.0, saveat=TS)
    assert sol.method.name == "RosenbrockMilstein"
    assert "the drift is stiff at the start (fastest time scale 0.0001" in str(sol)
    within(sol.moments(x), 0.0, size**2 / 2e4)
    assert np.median(sol.stats["num_steps"]) < 120


def test_a_slow_and_a_fast_state():
    """Linear, so the mean follows exp(A t), and mean and covariance the exponential of Van Loan."""
    a, b, r = 1.0, 2.0, 0.5
    model = sd.compile(
        sd.System([Eq(D(x), -a * x + b * y + r * D(W1)), Eq(D(y), -1e4 * (y - x / 4) + s * D(W2))], name="two_scales")
    )
    drift, noise = np.array([[-a, b], [2.5e3, -1e4]]), np.diag([r**2, 1.0])
    block = np.block([[-drift, noise], [np.zeros((2, 2)), drift.T]])
    sol = sd.ensemble(model, {}, paths=800, key=KEY, t1=1.0, saveat=TS)
    assert sol.method.name == "RosenbrockMilstein"
    # The exponential of the whole interval overflows; a short one is doubled.
    n, moved, spread = 2**14, np.array([1.0, 0.5]), np.zeros((2, 2))
    exp = scipy.linalg.expm(block / n * TS[-1])
    step, added = exp[2:, 2:].T, exp[2:, 2:].T @ exp[:2, 2:]
    means, spreads = [], []
    for i in range(1, n + 1):
        moved, spread = step @ moved, step @ spread @ step.T + added
        if i in (round(n * TS[0]), n):
            means.append(moved)
            spreads.append(np.diag(spread))
    for j, state in enumerate((x, y)):
        within(sol.moments(state), np.array(means)[:, j], np.array(spreads)[:, j])
    assert np.median(sol.stats["num_steps"]) < 150


def test_fast_and_multiplicative():
    """dx = -k (x - 1) dt + s x dW has the mean 1 and the variance s^2 / (2 k - s^2) at rest; as an equation of
    Stratonovich, with its drift corrected, the same."""
    ito = sd.compile(sd.System([Eq(D(x), -k * (x - 1) + s * x * D(W1))], name="rates")).replace(s=5.0)
    drift = -k * (x - 1) - s**2 * x / 2
    other = sd.System([Eq(D(x), drift + s * x * D(W1))], name="rates_too", calculus="stratonovich")
    for model in (ito, sd.compile(other).replace(s=5.0)):
        sol = sd.ensemble(model, {}, paths=800, key=KEY, t1=1.0, saveat=TS)
        assert sol.method.name == "RosenbrockMilstein"
        within(sol.moments(x), 1.0, 25 / (2e4 - 25))
        assert np.median(sol.stats["num_steps"]) < 150


def test_paths_are_right_to_the_tolerance_and_converge():
    """Two fast states that drive each other and a slow one, general noise, along equal paths."""
    z = sd.state("z", 0.2)
    system = sd.System(
        [
            Eq(D(x), -4e3 * (x - sp.cos(z)) + 0.5 * y * D(W1)),
            Eq(D(y), -6e3 * (y - x) + 0.3 * D(W2)),
            Eq(D(z), x * y - z + 0.4 * x * D(W2)),
        ],
        name="driven",
    )
    model = sd.compile(system)
    assert "general" in str(model)
    run = lambda tol: sd.ensemble(  # noqa: E731
        model, {}, paths=20, key=KEY, t1=1.0, saveat=TS, rtol=tol, atol=tol / 10, max_steps=20_000
    )
    loose, tight, tighter = run(1e-2), run(3e-3), run(1e-3)
    assert loose.method.name == "RosenbrockMilstein"
    assert np.median(loose.stats["num_steps"]) < 250
    error = [np.sqrt(np.mean((sol.ys - tighter.ys) ** 2, axis=(0, 1))) for sol in (loose, tight)]
    assert (error[0] < 1.5e-2).all()
    assert (error[1] < error[0]).all()


def test_gradients_along_a_path(ou):
    """From rest at zero the path is proportional to s."""

    def end(s):
        return sd.solve(ou.replace(s=s, x=0.0), 1.0, saveat=[1.0], key=KEY, max_steps=128)[x][-1]

    value, slope = jax.value_and_grad(end)(1.0)
    assert abs(float(value)) > 1e-4
    np.testing.assert_allclose(slope, value, rtol=1e-10)


def test_totals_are_kept():
    flow = 1e4 * x - 3e4 * y + s * x * D(W1)
    model = sd.compile(sd.System([Eq(D(x), -flow), Eq(D(y), flow)], name="exchange")).replace(s=0.5)
    sol = sd.solve(model, 1.0, saveat=TS, key=KEY)
    assert sol.method.name == "RosenbrockMilstein"
    np.testing.assert_allclose(sol[x + y], 1.5, rtol=1e-12)


def test_diffrax_alone_and_states_of_any_structure():
    """Without a model the Jacobian is JAX's: of an exact solution, x and y at once."""
    number = jax.ShapeDtypeStruct((), jnp.float64)
    path: Any = dfx.VirtualBrownianTree(0.0, 1.0, 2.0**-15, {"a": number, "b": number}, KEY)

    def noise(t, y, args):
        return {"a": 0.5 * y["a"], "b": 0.3 * y["b"]}

    terms = dfx.MultiTerm(
        dfx.ODETerm(lambda t, y, args: {"a": args * y["a"], "b": t * y["b"]}), dfx.ControlTerm(noise, path)
    )

    def end(tol: float) -> Any:
        controller = dfx.PIDController(tol, tol, dtmin=2.0**-14, force_dtmin=True)
        start = {"a": jnp.array(1.0), "b": jnp.array(2.0)}
        return dfx.diffeqsolve(
            terms, ROSENBROCK, 0.0, 1.0, 0.01, start, -2.0, stepsize_controller=controller, max_steps=20_000
        ).ys

    w = path.evaluate(0.0, 1.0)
    exact = jnp.stack([jnp.exp(-2 - 0.125 + 0.5 * w["a"]), 2 * jnp.exp(0.5 - 0.045 + 0.3 * w["b"])])
    errors = [float(jnp.max(jnp.abs(jnp.stack([v["a"][-1], v["b"][-1]]) - exact))) for v in map(end, (1e-2, 1e-4))]
    assert errors[0] < 3e-2
    assert errors[1] < errors[0] / 5


def test_which_method_is_chosen(ou):
    def run(model, t1):
        names = []
        jax.eval_shape(lambda key: names.append(sd.solve(model, t1, saveat=dfx.SaveAt(t1=True), key=key).method), KEY)
        return names[0].name

    assert run(ou, 1.0) == "RosenbrockMilstein"
    assert run(ou, 0.01) == "ShARK in halved steps"
    slow = sd.compile(sd.System([Eq(D(x), -100 * x + D(W1))], name="slower"))
    assert run(slow, 1.0) == "ShARK in halved steps"
    jax.eval_shape(lambda t1: [run(ou, t1) == "ShARK in halved steps"][0] or 1 / 0, 1.0)  # an interval not known
    general = sd.compile(sd.System([Eq(D(x), -k * x + y * D(W1)), Eq(D(y), x * D(W2) - y)], name="both"))
    assert "general noise: strong order 0.5" in str(sd.solve(general, 1.0, saveat=TS, key=KEY))


def test_steps_by_the_error_where_noise_is_additive():
    """ShARK has no error estimate of its own that diffrax would use; doubling gives it one, and saves what it kept."""
    model = sd.compile(sd.System([Eq(D(x), -2 * x + 0.4 * D(W1))], name="gentle"))
    sol = sd.solve(model, 1.0, saveat=[1.0], key=KEY)
    assert int(sol.stats["num_steps"]) < 40
    asked = sd.solve(model, 1.0, saveat=dfx.SaveAt(t1=True), key=KEY, solver=Doubling(dfx.ShARK()))
    np.testing.assert_allclose(asked.ys, sol.ys, rtol=1e-12)


def test_stiffness_that_comes_later_names_the_method():
    later = sd.compile(sd.System([Eq(D(x), -1e5 * sd.t * x + s * D(W1))], name="later"))
    sol = sd.solve(later, 1.0, saveat=TS, key=KEY, max_steps=500, throw=False)
    assert sol.method.name == "ShARK in halved steps"
    assert "the problem is stiff there" in sol.failure
    assert "use solver=sd.RosenbrockMilstein()" in sol.failure
    good = sd.solve(later, 1.0, saveat=TS, key=KEY, max_steps=500, solver=ROSENBROCK)
    assert abs(float(good[x][-1])) < 4 / np.sqrt(2e5)

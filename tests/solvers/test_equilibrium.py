"""What the solvers of equilibria share: one door with optimistix, stopping, the best iterate, batches, gradients."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

from symdeq._errors import ModelError, UnsupportedError
from symdeq.solvers.anderson import Anderson
from symdeq.solvers.broyden import Broyden
from symdeq.solvers.equilibrium import Progress
from symdeq.solvers.fixed_point import FixedPoint
from symdeq.solvers.newton_krylov import NewtonKrylov

from .equilibria import COSINE, cell, fixed, largest, linear, successful

OURS = (FixedPoint, Anderson, Broyden, NewtonKrylov)
tight = pytest.mark.parametrize("solver", [kind(atol=1e-11) for kind in OURS], ids=lambda s: type(s).__name__)
each = pytest.mark.parametrize("kind", OURS)


@pytest.mark.parametrize(
    "solver",
    [
        *(kind(atol=1e-12) for kind in OURS),
        FixedPoint(atol=1e-12, damping=0.6),
        Anderson(atol=1e-12, damping=0.5, memory=1),
        Broyden(atol=1e-12, line_search=False),
        NewtonKrylov(atol=1e-12, line_search=False),
        optx.Newton(rtol=1e-12, atol=1e-12),
        optx.Dogleg(rtol=1e-12, atol=1e-12),
    ],
)
def test_cosine_through_one_door(solver) -> None:
    """`optimistix.fixed_point` takes root finders as well, those of optimistix too."""
    sol = fixed(jnp.cos, solver, jnp.asarray(1.0))
    assert successful(sol)
    np.testing.assert_allclose(sol.value, COSINE, rtol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@each
def test_the_default_is_the_largest_residual(kind, dtype) -> None:
    """At most 1e-3 in 32 steps, and no sooner; with nothing of another precision."""
    g = cell(64, 0.8, dtype)
    sol = fixed(g, kind(), jnp.zeros(64, dtype), max_steps=32)
    assert successful(sol)
    assert sol.value.dtype == dtype
    assert largest(g(sol.value) - sol.value) <= 1e-3
    before = fixed(g, kind(), jnp.zeros(64, dtype), max_steps=int(sol.stats["num_steps"]) - 1)
    assert bool(before.result == optx.RESULTS.nonlinear_max_steps_reached)
    assert largest(g(before.value) - before.value) > 1e-3


@each
def test_other_norms_and_relative_tolerances(kind) -> None:
    g = cell(64, 0.8)
    mean = fixed(g, kind(atol=1e-6, norm=optx.rms_norm), jnp.zeros(64))
    assert float(optx.rms_norm(g(mean.value) - mean.value)) <= 1e-6
    a, b = linear(10)
    large = fixed(lambda z: a @ z + 1e6 * b, kind(rtol=1e-6, atol=0.0), jnp.zeros(10))
    assert successful(large)
    residual = a @ large.value + 1e6 * b - large.value
    assert np.all(np.abs(residual) <= 1e-6 * np.abs(large.value))
    assert largest(residual) > 1e-4


def test_damping() -> None:
    """z ← z + β (g(z) - z): on g(z) = -1.5 z, which expands, the factor is 1 - 2.5 β."""
    sol = fixed(lambda z: -1.5 * z, FixedPoint(atol=1e-6, damping=0.5), jnp.asarray(1.0))
    assert successful(sol)
    # 2.5 · 0.25^k <= 1e-6
    assert int(sol.stats["nfe"]) == int(np.ceil(np.log(2.5e6) / np.log(4))) + 1


def test_an_iteration_that_runs_away_is_stopped() -> None:
    sol = fixed(lambda z: 3 * z + 1, FixedPoint(), jnp.asarray(0.0))
    assert bool(sol.result == optx.RESULTS.nonlinear_divergence)
    assert int(sol.stats["nfe"]) < 12
    # The first iterate has the least residual.
    assert float(sol.value) == 0


@each
def test_the_best_iterate_is_returned(kind) -> None:
    """With what f returned there, whatever came after it."""
    seen = []

    def g(z):
        jax.debug.callback(lambda v: seen.append(np.array(v)), z)
        return jnp.tanh(jnp.array([[0.5, -6.0], [5.0, 0.4]]) @ z + 0.5), {"z": z}

    sol = optx.fixed_point(lambda z, _: g(z), kind(atol=1e-14), jnp.zeros(2), has_aux=True, throw=False, max_steps=7)
    jax.effects_barrier()
    residuals = [largest(jnp.tanh(jnp.array([[0.5, -6.0], [5.0, 0.4]]) @ z + 0.5) - z) for z in seen]
    assert len(seen) == int(sol.stats["nfe"]) == int(sol.stats["num_steps"])
    np.testing.assert_array_equal(sol.value, seen[int(np.argmin(residuals))])
    np.testing.assert_array_equal(sol.aux["z"], sol.value)


@tight
def test_states_of_any_structure(solver) -> None:
    """As for one vector, in the same number of steps."""
    a, b = linear(6)

    def g(z):
        v = a @ jnp.concatenate([z["a"][None], z["b"][0].ravel(), z["b"][1]]) + b
        return {"a": v[0], "b": (v[1:5].reshape(2, 2), v[5:])}

    zero = {"a": jnp.zeros(()), "b": (jnp.zeros((2, 2)), jnp.zeros(1))}
    sol, flat = fixed(g, solver, zero), fixed(lambda z: a @ z + b, solver, jnp.zeros(6))
    assert successful(sol)
    found = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(sol.value)])
    np.testing.assert_allclose(found, np.linalg.solve(np.eye(6) - a, b), atol=1e-9)
    assert abs(int(sol.stats["nfe"]) - int(flat.stats["nfe"])) <= 1


@tight
def test_one_lane_of_a_batch_never_harms_the_others(solver) -> None:
    """One diverges, one is not defined, one starts as NaN; the others are what they are alone."""
    g = cell(12, 0.8)

    def solve(shift, z0):
        sol = fixed(lambda z: jnp.where(shift > 9, jnp.log(-1 - z**2), g(z) * shift), solver, z0, max_steps=100)
        return sol.value, sol.result == optx.RESULTS.successful, sol.stats["nfe"]

    shifts = jnp.array([0.5, 1.0, 10.0, 0.9, 1.0])
    starts = jnp.zeros((5, 12)).at[3].set(jnp.nan)
    values, good, nfe = jax.jit(jax.vmap(solve))(shifts, starts)
    np.testing.assert_array_equal(good, [True, True, False, False, True])
    for i in (0, 1, 4):
        alone, _, count = jax.jit(solve)(shifts[i], starts[i])
        np.testing.assert_allclose(values[i], alone, atol=1e-10)
        assert abs(int(nfe[i]) - int(count)) <= 1
    assert np.all(np.isfinite(values[2]))  # the first guess


@each
def test_failures_are_results(kind) -> None:
    never = fixed(lambda z: z * jnp.nan, kind(), jnp.ones(3))
    assert bool(never.result == optx.RESULTS.nonfinite)
    assert int(never.stats["nfe"]) == 1
    np.testing.assert_array_equal(never.value, 1)
    short = fixed(cell(20, 0.9), kind(atol=1e-12), jnp.zeros(20), max_steps=3)
    assert bool(short.result == optx.RESULTS.nonlinear_max_steps_reached)
    with pytest.raises(Exception, match="maximum number of steps"):
        fixed(cell(20, 0.9), kind(atol=1e-12), jnp.zeros(20), max_steps=3, throw=True)


@tight
def test_gradients_by_the_implicit_function_theorem(solver) -> None:
    """x = a x + b: dx/da = b / (1 - a)², dx/db = 1 / (1 - a)."""

    def solved(a, b):
        return optx.fixed_point(lambda z, p: p[0] * z + p[1], solver, jnp.zeros(()), (a, b)).value

    a, b = 0.6, 1.5
    np.testing.assert_allclose(jax.grad(solved, argnums=(0, 1))(a, b), (b / (1 - a) ** 2, 1 / (1 - a)), rtol=1e-9)


@tight
def test_gradients_in_batches_equal_those_of_200_iterations(solver) -> None:
    w = jnp.asarray(0.5 * np.random.default_rng(0).normal(size=(6, 6)) / np.sqrt(6))
    adjoint = optx.ImplicitAdjoint(lx.AutoLinearSolver(well_posed=None))

    def implicitly(w, x):
        return optx.fixed_point(lambda z, w: jnp.tanh(w @ z + x), solver, jnp.zeros(6), w, adjoint=adjoint).value

    def unrolled(w, x):
        return jax.lax.fori_loop(0, 200, lambda _, z: jnp.tanh(w @ z + x), jnp.zeros(6))

    xs = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6)))

    def loss(solve):
        return jax.jit(jax.grad(lambda w: jnp.sum(jax.vmap(lambda x: solve(w, x))(xs) ** 2)))(w)

    np.testing.assert_allclose(loss(implicitly), loss(unrolled), atol=1e-8)


@pytest.mark.parametrize("kind", [FixedPoint, Anderson, Broyden])
def test_gradients_through_the_steps(kind) -> None:
    """With optimistix's checkpoints, the solver's own arithmetic is differentiated."""

    def solved(a, adjoint):
        solver = kind(atol=1e-12)
        f = lambda z, a: a * jnp.cos(z) + jnp.array([0.1, 0.2, 0.3])  # noqa: E731
        return jnp.sum(optx.fixed_point(f, solver, jnp.zeros(3), a, adjoint=adjoint, max_steps=64).value)

    implicit, steps = (
        jax.grad(solved)(0.4, adjoint) for adjoint in (optx.ImplicitAdjoint(), optx.RecursiveCheckpointAdjoint())
    )
    np.testing.assert_allclose(steps, implicit, rtol=1e-6)


@each
def test_equal_solvers_share_compiled_programs(kind) -> None:
    assert kind(atol=1e-5) == kind(atol=1e-5)
    assert hash(kind(atol=1e-5)) == hash(kind(atol=1e-5))
    traces = []

    def g(z, x):
        traces.append(0)
        return jnp.tanh(0.5 * z + x)

    for x in (0.1, 0.2, 0.3):
        optx.fixed_point(g, kind(atol=1e-5), jnp.zeros(3), jnp.asarray(x))
    first = len(traces)
    optx.fixed_point(g, kind(atol=1e-5), jnp.ones(3), jnp.asarray(0.4))
    assert len(traces) == first


@each
def test_what_cannot_be_solved_is_refused(kind) -> None:
    with pytest.raises(ModelError, match="both 0"):
        kind(rtol=0.0, atol=0.0)
    with pytest.raises(ModelError, match="atol"):
        kind(atol=-1.0)
    with pytest.raises(ModelError, match="holds no array"):
        fixed(lambda z: z, kind(), ())
    with pytest.warns(UserWarning, match="Complex"), pytest.raises(UnsupportedError, match="real numbers"):
        fixed(lambda z: 0.5 * z, kind(), jnp.ones(2, complex))


@pytest.mark.parametrize("kind", [Broyden, NewtonKrylov])
def test_as_many_equations_as_unknowns(kind) -> None:
    with pytest.raises(ModelError, match="as many equations as unknowns"):
        optx.root_find(lambda z, _: z[:1], kind(), jnp.ones(2))


def test_progress_of_an_iterate_that_runs_away() -> None:
    """The best is the one with the least residual, however large the unit of the tolerance is elsewhere."""
    solver = FixedPoint(rtol=1e-3, atol=1e-3)
    one = jnp.asarray(1.0)
    start = Progress(
        y=one, aux=None, least=one, last=one, tolerances=one * 500, improved=one > 0, nfe=jnp.zeros((), jnp.int32)
    )
    after = start.after(solver, jnp.asarray(100.0), jnp.asarray(2.0), None)
    assert float(after.tolerances) < 500
    assert float(after.y) == 1
    assert not bool(after.improved)

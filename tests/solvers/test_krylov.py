"""GMRES with an incomplete elimination against NumPy, and through `sd.solve` against the direct elimination."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import symdeq as sd
from symdeq import D, Eq, codegen
from symdeq.solve import ode
from symdeq.solvers import krylov as krylov_module
from symdeq.solvers import ordering
from symdeq.solvers.elimination import Elimination
from symdeq.solvers.gmres import Solved, gmres
from symdeq.solvers.krylov import Krylov

from .test_elimination import arrow, chain, grid, pairs, random

PATTERNS = {
    "one": (1, {(0, 0)}),
    "empty": (3, set()),
    "chain": (60, chain(60)),
    "pairs": (64, pairs(32)),
    "grid": (144, grid(12)),
    "arrow": (30, arrow(30)),
    "triangle": (15, {(i, k) for i in range(15) for k in range(i)}),
    **{f"random {n}": (n, random(n, m)) for n, m in ((30, 90), (120, 500))},
}


def krylov(n: int, sparsity: tuple) -> Krylov:
    plan = krylov_module.krylov.__wrapped__(n, sparsity)
    assert plan is not None
    return plan


def problem(n: int, pattern: set, dominance: float = 1.05) -> tuple[tuple, np.ndarray, float, np.ndarray, np.ndarray]:
    """The sparsity, the non-zeros of J, a shift, W and a right side."""
    sparsity = tuple(sorted(pattern))
    numbers = np.random.default_rng(1)
    values = numbers.normal(size=len(sparsity))
    jacobian = np.zeros((n, n))
    for (i, k), value in zip(sparsity, values, strict=True):
        jacobian[i, k] = value
    shift = 1.0 + dominance * np.abs(jacobian).sum(axis=1).max(initial=0.0)
    return sparsity, values, shift, shift * np.eye(n) - jacobian, numbers.normal(size=n)


@functools.partial(jax.jit, static_argnames=("plan", "transposed"))
def solved(plan: Krylov, values: Array, shift: Array, b: Array, *, transposed: bool = False) -> Solved:
    """With ones on the diagonal of M."""
    factors = plan.factorise(values, shift, np.ones(len(b), int))
    return plan.iterate(factors, b, transposed=transposed)


def close(x: Array, expected: np.ndarray, relative: float = 1e-9) -> None:
    np.testing.assert_allclose(x, expected, rtol=0, atol=relative * np.abs(expected).max())


@pytest.mark.parametrize("fills", [(0,), (1, 0)])
@pytest.mark.parametrize("name", PATTERNS)
def test_solves_equal_those_of_numpy(monkeypatch, name, fills) -> None:
    monkeypatch.setattr(krylov_module, "_FILLS", fills)
    n, pattern = PATTERNS[name]
    sparsity, values, shift, w, b = problem(n, pattern)
    plan = krylov(n, sparsity)
    values, right = jnp.asarray(values), jnp.asarray(b)
    close(solved(plan, values, jnp.asarray(shift), right).x, np.linalg.solve(w, b))
    close(solved(plan, values, jnp.asarray(shift), right, transposed=True).x, np.linalg.solve(w.T, b))


def laplacian(side: int, strength: float) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Diffusion on a square: the sparsity, the non-zeros and the dense matrix."""
    sparsity = tuple(sorted(grid(side)))
    values = np.array([-4.0 if i == k else 1.0 for i, k in sparsity]) * strength
    matrix = np.zeros((side**2, side**2))
    matrix[tuple(np.transpose(sparsity))] = values
    return sparsity, values, matrix


@pytest.mark.parametrize("strength", [0.1, 10.0, 1000.0])
def test_diffusion_on_a_grid_takes_few_iterations(strength) -> None:
    sparsity, values, matrix = laplacian(20, strength)
    b = np.random.default_rng(0).normal(size=400)
    result = solved(krylov(400, sparsity), jnp.asarray(values), jnp.asarray(1.0), jnp.asarray(b))
    assert int(result.iterations) <= 50
    close(result.x, np.linalg.solve(np.eye(400) - matrix, b), 1e-7)


def test_an_elimination_that_fills_nowhere_takes_one_iteration() -> None:
    """The tip of an arrow goes last."""
    n, pattern = PATTERNS["arrow"]
    sparsity, values, shift, _, b = problem(n, pattern)
    assert int(solved(krylov(n, sparsity), jnp.asarray(values), jnp.asarray(shift), jnp.asarray(b)).iterations) == 1


def test_nothing_is_solved_by_nothing() -> None:
    sparsity, values, _ = laplacian(4, 1.0)
    result = solved(krylov(16, sparsity), jnp.asarray(values), jnp.asarray(1.0), jnp.zeros(16))
    assert not np.any(result.x)
    assert int(result.iterations) == 0


def test_rows_of_very_different_size() -> None:
    """Fast equations hide none of the slow ones, because residuals are measured in the unit of the unknowns."""
    sparsity, values, _ = laplacian(8, 1.0)
    fast = np.where(np.arange(64) % 3 == 0, 1e8, 1.0)
    values = values * fast[[i for i, _ in sparsity]]
    matrix = np.zeros((64, 64))
    matrix[tuple(np.transpose(sparsity))] = values
    b = np.random.default_rng(0).normal(size=64) * fast
    x = np.linalg.solve(2 * np.eye(64) - matrix, b)
    close(solved(krylov(64, sparsity), jnp.asarray(values), jnp.asarray(2.0), jnp.asarray(b)).x, x)


def test_single_precision() -> None:
    sparsity, values, matrix = laplacian(20, 10.0)
    b = np.random.default_rng(0).normal(size=400)
    single = (jnp.asarray(v, jnp.float32) for v in (values, 1.0, b))
    result = solved(krylov(400, sparsity), *single)
    assert result.x.dtype == jnp.float32
    assert int(result.turns) <= 2
    assert float(result.residual) <= 2e-5
    close(result.x, np.linalg.solve(np.eye(400) - matrix, b), 3e-4)


def test_batches() -> None:
    """Members of very different difficulty, each as if it were alone."""
    sparsity, values, _ = laplacian(10, 1.0)
    plan, b = krylov(100, sparsity), jnp.asarray(np.random.default_rng(0).normal(size=100))

    def solve(strength):
        return solved(plan, strength * jnp.asarray(values), jnp.asarray(1.0), b).x

    strengths = jnp.array([1e-6, 1.0, 1e3])
    for one, strength in zip(jax.vmap(solve)(strengths), strengths, strict=True):
        np.testing.assert_allclose(one, solve(strength), rtol=1e-9)


def test_a_turn_without_gain_is_the_last() -> None:
    """A cyclic shift: the least residual stays 1 until the basis is complete (Nachtigal, Reddy and Trefethen, 1992)."""
    b = jnp.zeros(40).at[0].set(1.0)
    short = gmres(lambda x: jnp.roll(x, 1), lambda x: x, b, rtol=1e-10, restart=10, turns=10)
    assert int(short.turns) == 1
    assert float(short.residual) == 1
    whole = gmres(lambda x: jnp.roll(x, 1), lambda x: x, b, rtol=1e-10, restart=40, turns=1)
    np.testing.assert_allclose(whole.x, np.roll(b, -1), atol=1e-12)


def test_a_singular_matrix_ends_and_gives_no_number() -> None:
    plan = krylov(3, ((0, 0), (1, 1), (2, 2)))
    factors = plan.factorise(jnp.array([1.0, 0.0, 0.0]), jnp.asarray(1.0), np.ones(3, int))
    assert not np.all(np.isfinite(plan.solve(factors, jnp.ones(3))))


def brusselator(side: int, name: str) -> sd.System:
    """With diffusion on a periodic square: BRUSS-2D of Hairer and Wanner, Solving Ordinary Differential Equations II
    (1996), section IV.10, without its source."""
    x = np.arange(side) / side
    u = [[sd.state(f"u{i}_{k}", 22 * x[k] * (1 - x[k]) ** 1.5) for k in range(side)] for i in range(side)]
    v = [[sd.state(f"v{i}_{k}", 27 * x[i] * (1 - x[i]) ** 1.5) for k in range(side)] for i in range(side)]
    a, b, alpha = sd.parameters(a=1.0, b=3.4, alpha=0.1)

    def spread(w, i, k):
        near = w[i - 1][k] + w[(i + 1) % side][k] + w[i][k - 1] + w[i][(k + 1) % side]
        return alpha * side**2 * (near - 4 * w[i][k])

    equations = []
    for i in range(side):
        for k in range(side):
            reaction = u[i][k] ** 2 * v[i][k]
            equations.append(Eq(D(u[i][k]), a + reaction - (b + 1) * u[i][k] + spread(u, i, k)))
            equations.append(Eq(D(v[i][k]), b * u[i][k] - reaction + spread(v, i, k)))
    return sd.System(equations, name=name)


def otherwise(model: sd.Model, mark: str) -> sd.Model:
    """The same model with functions of its own, so that nothing compiled before, or planned, serves it."""
    text = f"{model.source}\n# {mark}\n"
    functions = codegen.functions(codegen.load(text))
    return dataclasses.replace(model, compiled=dataclasses.replace(model.compiled, functions=functions))


def iteratively(monkeypatch: pytest.MonkeyPatch, model: sd.Model, mark: str) -> sd.Model:
    """The same model, solved by GMRES."""
    monkeypatch.setattr(ode, "eliminate", lambda n, sparsity: None)
    other = otherwise(model, mark)
    assert isinstance(ode.elimination_of(other.functions), Krylov)
    return other


@functools.cache
def small() -> sd.Model:
    return sd.compile(brusselator(8, "brusselator_8"))


def test_a_large_elimination_is_given_up(monkeypatch) -> None:
    n, pattern = PATTERNS["grid"]
    sparsity = tuple(sorted(pattern))
    assert isinstance(ordering.eliminate.__wrapped__(n, sparsity), Elimination)
    monkeypatch.setattr(ordering, "MOST_OPERATIONS", 400)
    assert ordering.eliminate.__wrapped__(n, sparsity) is None
    monkeypatch.setattr(ordering, "MOST_OPERATIONS", 10)
    assert ordering.eliminate_incompletely.__wrapped__(n, sparsity, 0) is None
    monkeypatch.undo()
    monkeypatch.setattr(ordering, "MOST_DENSE", 10)
    assert ordering.eliminate.__wrapped__(n, sparsity) is None


def test_iterative_and_direct_solves_agree(monkeypatch) -> None:
    """On 1,152 states, with both planned as they are for larger ones."""
    model = sd.compile(brusselator(24, "brusselator_24"))
    direct = sd.solve(model, t1=2.0, saveat=[0.5, 1.0, 2.0], rtol=1e-6, atol=1e-8, solver=sd.Rodas5P())
    assert isinstance(ode.elimination_of(model.functions), Elimination)
    monkeypatch.setattr(ordering, "MOST_OPERATIONS", 200_000)
    monkeypatch.setattr(ode, "eliminate", ordering.eliminate.__wrapped__)
    other = otherwise(model, "iterative")
    assert isinstance(ode.elimination_of(other.functions), Krylov)
    sol = sd.solve(other, t1=2.0, saveat=[0.5, 1.0, 2.0], rtol=1e-6, atol=1e-8, solver=sd.Rodas5P())
    assert np.max(np.abs(sol.ys - direct.ys) / (1e-8 + 1e-6 * np.abs(direct.ys))) < 10
    assert abs(int(sol.stats["num_accepted_steps"]) - int(direct.stats["num_accepted_steps"])) <= 3


def test_gradients_agree(monkeypatch) -> None:
    def end(alpha, model):
        sol = sd.solve(model.replace(alpha=alpha), t1=1.0, rtol=1e-7, atol=1e-9, solver=sd.Rodas5P())
        return jnp.sum(sol.ys[-1][:20] ** 2)

    direct = jax.grad(end)(0.1, small())
    np.testing.assert_allclose(jax.grad(end)(0.1, iteratively(monkeypatch, small(), "gradient")), direct, rtol=1e-5)


@pytest.mark.parametrize("solver", ["auto", sd.BDF()], ids=["auto", "BDF"])
def test_other_solvers_agree(monkeypatch, solver) -> None:
    options = {"t1": 2.0, "rtol": 1e-6, "atol": 1e-8, "solver": solver}
    direct = sd.solve(small(), **options)
    sol = sd.solve(iteratively(monkeypatch, small(), "solvers"), **options)
    np.testing.assert_allclose(sol.ys[-1], direct.ys[-1], rtol=1e-5, atol=1e-7)


def test_a_solve_that_does_not_converge_gives_no_number(monkeypatch) -> None:
    sparsity, values, _ = laplacian(20, 1000.0)
    plan, b = krylov(400, sparsity), jnp.asarray(np.random.default_rng(0).normal(size=400))
    factors = plan.factorise(jnp.asarray(values), jnp.asarray(1.0), np.ones(400, int))
    assert np.all(np.isfinite(plan.solve(factors, b)))
    monkeypatch.setattr(krylov_module, "_RESTART", 3)
    monkeypatch.setattr(krylov_module, "_TURNS", 1)
    assert float(plan.iterate(factors, b).residual) > 1e-9
    assert np.all(np.isnan(plan.solve(factors, b)))
    assert np.all(np.isnan(plan.solve_transposed(factors, b)))


def test_a_step_whose_solves_do_not_converge_is_rejected(monkeypatch) -> None:
    """Steps so small that a few iterations suffice get through, and a solution is as good as any."""
    options = {"t1": 2.0, "rtol": 1e-5, "atol": 1e-7, "solver": sd.Rodas5P(), "throw": False}
    direct = sd.solve(small().replace(alpha=1.0), **options)
    monkeypatch.setattr(krylov_module, "_RESTART", 4)
    monkeypatch.setattr(krylov_module, "_TURNS", 1)
    sol = sd.solve(iteratively(monkeypatch, small(), "rejected").replace(alpha=1.0), max_steps=1024, **options)
    assert sol.ok
    assert int(sol.stats["num_rejected_steps"]) > int(direct.stats["num_rejected_steps"])
    np.testing.assert_allclose(sol.ys[-1], direct.ys[-1], rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(krylov_module, "_RESTART", 1)
    failed = sd.solve(iteratively(monkeypatch, small(), "failed").replace(alpha=1.0), max_steps=64, **options)
    assert not failed.ok


def test_the_report_names_the_linear_algebra(monkeypatch) -> None:
    assert f"; {ode.elimination_of(small().functions)}\n" in str(small())
    assert "; LU in " in str(small())
    assert "; GMRES with an incomplete LU in " in str(iteratively(monkeypatch, small(), "report"))

"""GMRES for lineax: against dense solves and SciPy's, transposed, preconditioned, in batches, and differentiated."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse.linalg as sla

from symdeq import ModelError
from symdeq.solvers import GMRES

N = 30


def system(seed: int = 0, n: int = N, size: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """I minus a matrix of spectral radius about `size`, as a backward pass has it, and a right side."""
    draw = np.random.default_rng(seed)
    return np.eye(n) - size * draw.standard_normal((n, n)) / np.sqrt(n), draw.standard_normal(n)


def solved(a, b, solver, **options):
    return lx.linear_solve(lx.MatrixLinearOperator(jnp.asarray(a)), b, solver, options=options, throw=False)


@pytest.mark.parametrize("rtol", [1e-2, 1e-6, 1e-10])
def test_the_residual_is_within_the_tolerance_and_no_vector_is_wasted(rtol):
    a, b = system()
    found = solved(a, jnp.asarray(b), GMRES(rtol=rtol, max_steps=N))
    assert found.result == lx.RESULTS.successful
    assert np.linalg.norm(b - a @ found.value) <= rtol * np.linalg.norm(b)
    # SciPy counts the same vectors, one callback each.
    residuals = []
    theirs, _ = sla.gmres(a, b, rtol=rtol, restart=N, maxiter=1, callback=residuals.append, callback_type="pr_norm")
    assert int(found.stats["num_steps"]) == len(residuals)
    np.testing.assert_allclose(found.value, theirs, atol=1e-11)


def test_as_many_vectors_as_unknowns_solve_exactly():
    a, b = system(1)
    found = solved(a, jnp.asarray(b), GMRES(rtol=1e-13, max_steps=1000))
    np.testing.assert_allclose(found.value, np.linalg.solve(a, b), rtol=1e-9)
    assert int(found.stats["num_steps"]) <= N


def test_a_tolerance_that_is_missed_is_told_with_the_least_residual():
    a, b = system(2, size=0.9)
    found = solved(a, jnp.asarray(b), GMRES(rtol=1e-8, max_steps=5))
    assert found.result == lx.RESULTS.max_steps_reached
    assert int(found.stats["num_steps"]) == int(found.stats["max_steps"]) == 5
    # The least residual over the Krylov space, from a dense least-squares problem.
    powers = [b]
    for _ in range(4):
        powers.append(a @ powers[-1])
    space = np.linalg.qr(np.stack(powers, axis=1))[0]
    best = space @ np.linalg.lstsq(a @ space, b, rcond=None)[0]
    np.testing.assert_allclose(found.value, best, rtol=1e-7, atol=1e-9)
    with pytest.raises(Exception, match="max"):
        lx.linear_solve(lx.MatrixLinearOperator(jnp.asarray(a)), jnp.asarray(b), GMRES(rtol=1e-8, max_steps=5))


def test_a_miss_is_no_failure_where_that_is_asked_for():
    """Not in the transposed solve of reverse mode either, for which lineax raises whatever `throw` says."""
    a, b = system(2, size=0.9)
    loose = GMRES(rtol=1e-8, max_steps=5, strict=False)
    found = solved(a, jnp.asarray(b), loose)
    assert found.result == lx.RESULTS.successful
    np.testing.assert_array_equal(found.value, solved(a, jnp.asarray(b), GMRES(rtol=1e-8, max_steps=5)).value)
    gradient = jax.grad(lambda b: jnp.sum(solved(a, b, loose).value))(jnp.asarray(b))
    np.testing.assert_allclose(gradient, solved(a.T, jnp.ones(N), loose).value, rtol=1e-9)


def test_zeros_are_solved_by_zeros():
    found = solved(system()[0], jnp.zeros(N), GMRES())
    np.testing.assert_array_equal(found.value, np.zeros(N))
    assert found.result == lx.RESULTS.successful
    assert int(found.stats["num_steps"]) == 0


@pytest.mark.parametrize("size", [1, 2])
def test_a_krylov_space_that_ends_early_is_no_breakdown(size):
    a, b = np.eye(6), np.zeros(6)
    a[5, 5], b[0], b[5] = 3.0, 2.0, 3.0 * (size - 1)
    found = solved(a, jnp.asarray(b), GMRES(rtol=1e-12, max_steps=6))
    np.testing.assert_allclose(found.value, b / np.diag(a), rtol=1e-12, atol=1e-14)
    assert found.result == lx.RESULTS.successful
    assert int(found.stats["num_steps"]) == size


def test_a_good_preconditioner_spares_vectors():
    a, b = system(3, size=0.9)
    solver = GMRES(rtol=1e-8, max_steps=N)
    plain = solved(a, jnp.asarray(b), solver)
    near = np.linalg.inv(a + 0.01 * system(4)[0])
    better = solved(a, jnp.asarray(b), solver, preconditioner=lx.MatrixLinearOperator(jnp.asarray(near)))
    assert 2 * int(better.stats["num_steps"]) < int(plain.stats["num_steps"])
    np.testing.assert_allclose(better.value, np.linalg.solve(a, b), rtol=1e-6)
    # It is applied from the right: SciPy's system is A M y = b with x = M y.
    theirs, _ = sla.gmres(a @ near, b, rtol=1e-8, restart=N)
    np.testing.assert_allclose(better.value, near @ theirs, rtol=1e-7)
    exact = lx.MatrixLinearOperator(jnp.asarray(np.linalg.inv(a)))
    assert int(solved(a, jnp.asarray(b), solver, preconditioner=exact).stats["num_steps"]) == 1


def test_a_pytree_keeps_its_structure():
    a, b = system(5, n=6)

    def product(v):
        out = jnp.asarray(a) @ jnp.concatenate([v["x"].ravel(), v["y"]])
        return {"x": out[:4].reshape(2, 2), "y": out[4:]}

    right = {"x": jnp.asarray(b[:4].reshape(2, 2)), "y": jnp.asarray(b[4:])}
    operator = lx.FunctionLinearOperator(product, jax.eval_shape(lambda: right))
    found = lx.linear_solve(operator, right, GMRES(rtol=1e-12)).value
    expected = np.linalg.solve(a, b)
    np.testing.assert_allclose(found["x"], expected[:4].reshape(2, 2), rtol=1e-9)
    np.testing.assert_allclose(found["y"], expected[4:], rtol=1e-9)


def test_batches_stop_each_in_its_own_time():
    pairs = [system(seed, size=size) for seed, size in ((0, 0.1), (1, 0.5), (2, 0.9))]
    a, b = (jnp.asarray(np.stack(parts)) for parts in zip(*pairs, strict=True))
    b = b.at[1].set(0.0)
    solver = GMRES(rtol=1e-6, max_steps=N)
    found = jax.vmap(lambda a, b: solved(a, b, solver))(a, b)
    alone = [solved(a[i], b[i], solver) for i in range(3)]
    np.testing.assert_array_equal(found.stats["num_steps"], [int(one.stats["num_steps"]) for one in alone])
    for ours, one in zip(found.value, alone, strict=True):
        np.testing.assert_allclose(ours, one.value, rtol=1e-9, atol=1e-12)
    steps = found.stats["num_steps"]
    assert steps[1] == 0 < steps[0] < steps[2]


def test_single_precision():
    a, b = (part.astype(np.float32) for part in system(6))
    found = solved(a, jnp.asarray(b), GMRES(rtol=1e-5, max_steps=N))
    assert found.value.dtype == jnp.float32
    assert found.result == lx.RESULTS.successful
    np.testing.assert_allclose(found.value, np.linalg.solve(np.float64(a), b), atol=1e-4)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_derivatives_by_right_side_and_matrix_in_both_directions(preconditioned):
    """Reverse mode solves with the transposed matrix, and with the transposed preconditioner."""
    a, b = system(7, n=8)
    weights = jnp.linspace(1.0, 2.0, 8)
    near = jnp.asarray(np.linalg.inv(a + 0.1 * system(8, n=8)[0]))
    options = {"preconditioner": lx.MatrixLinearOperator(near)} if preconditioned else {}

    def number(a, b):
        operator = lx.MatrixLinearOperator(a)
        x = lx.linear_solve(operator, b, GMRES(rtol=1e-13, max_steps=8), options=options, throw=False).value
        return jnp.sum(weights * x**2)

    x = np.linalg.solve(a, b)
    by_b = np.linalg.solve(a.T, 2 * np.asarray(weights) * x)
    for gradient in (jax.grad(number, (0, 1)), jax.jacfwd(number, (0, 1))):
        by_matrix, by_right = gradient(jnp.asarray(a), jnp.asarray(b))
        np.testing.assert_allclose(by_right, by_b, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(by_matrix, -np.outer(by_b, x), rtol=1e-8, atol=1e-10)


def test_settings_out_of_range_are_refused():
    for build, part in ((lambda: GMRES(rtol=0.0), "rtol"), (lambda: GMRES(max_steps=0), "max_steps")):
        with pytest.raises(ModelError, match=part):
            build()

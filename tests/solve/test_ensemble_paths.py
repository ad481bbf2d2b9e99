"""Ensembles of paths: moments in closed form, members that are single solves, what fails, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from symdeq.solve.lanes import in_lanes
from symdeq.solve.moments import moments
from tests.solve.test_ensemble import checked, compilations

KEY = jax.random.key(5)
W = sd.brownian("W")
x = sd.state("x", 1.0)
a, s = sd.parameters(a=0.5, s=0.4)
TS = np.array([0.25, 0.5, 1.0])


@pytest.fixture(scope="module")
def gbm() -> sd.Model:
    return sd.compile(sd.System([Eq(D(x), a * x + s * x * D(W))], name="gbm"))


@pytest.fixture(scope="module")
def ou() -> sd.Model:
    return sd.compile(sd.System([Eq(D(x), -2 * x + s * D(W))], name="ou"))


def assert_moments(found, mean, variance, fourth):
    """Whether mean and variance are within four standard errors of the closed forms; `fourth` is the central moment."""
    assert (np.abs(found.mean - mean) < 4 * np.sqrt(variance / found.count)).all()
    assert (np.abs(found.variance - variance) < 4 * np.sqrt((fourth - variance**2) / found.count)).all()


def test_geometric_brownian_motion(gbm):
    sol = sd.ensemble(gbm, {}, paths=2000, key=KEY, t1=1.0, saveat=TS, rtol=1e-3, atol=1e-4)
    found, q = sol.moments(x), np.exp(0.16 * TS)
    assert sol.ys.shape == (2000, 3, 1)
    fourth = q**6 - 4 * q**3 + 6 * q - 3  # of x / E x, which is lognormal
    assert_moments(found, np.exp(0.5 * TS), np.exp(TS) * (q - 1), np.exp(2 * TS) * fourth)
    assert (int(found.count), int(found.failed)) == (2000, 0)
    np.testing.assert_allclose(found.quantiles, np.quantile(sol[x], found.levels, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.std(sol[x], axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found.stderr, found.std / np.sqrt(2000), rtol=1e-12)
    median = np.exp((0.5 - 0.08) * TS)
    assert (np.abs(found.quantiles[2] - median) < 4 * 0.4 * np.sqrt(TS * np.pi / 2 / 2000) * median).all()


def test_ornstein_and_uhlenbecks_process(ou):
    found = sd.ensemble(ou, {}, paths=2000, key=KEY, t1=1.0, saveat=TS, rtol=1e-3, atol=1e-4).moments(x)
    variance = 0.4**2 * (1 - np.exp(-4 * TS)) / 4
    assert_moments(found, np.exp(-2 * TS), variance, 3 * variance**2)


def test_member_i_is_the_solve_with_its_key_whatever_the_number_of_members(gbm):
    sol = sd.ensemble(gbm, {}, paths=300, key=KEY, t1=1.0, saveat=TS)
    for i in (0, 7, 299):
        alone = sd.solve(gbm, 1.0, saveat=TS, key=jax.random.fold_in(KEY, i))
        np.testing.assert_allclose(sol.ys[i], alone.ys, rtol=1e-12)
        assert sol.member(i).explain() == alone.explain()
    few = sd.ensemble(gbm, {}, paths=5, key=KEY, t1=1.0, saveat=TS)
    np.testing.assert_array_equal(few.ys, sol.ys[:5])
    assert len(np.unique(sol.ys[:, -1, 0])) == 300


def test_values_and_paths_together(gbm):
    values = np.linspace(0.1, 0.4, 6)
    sol = sd.ensemble(gbm, {"s": values, x: 2 * values}, paths=6, key=KEY, t1=1.0, saveat=TS)
    np.testing.assert_array_equal(sol.ys, sd.ensemble(gbm, {"s": values, x: 2 * values}, key=KEY, t1=1.0, saveat=TS).ys)
    alone = sd.solve(gbm.replace({"s": values[4], x: 2 * values[4]}), 1.0, saveat=TS, key=jax.random.fold_in(KEY, 4))
    np.testing.assert_allclose(sol.ys[4], alone.ys, rtol=1e-12)


def test_new_keys_and_numbers_of_paths_compile_nothing(gbm):
    run = lambda n, seed: sd.ensemble(gbm, {}, paths=n, key=jax.random.key(seed), t1=1.0, saveat=TS)  # noqa: E731
    run(3, 0)
    run(40, 0)
    assert compilations(lambda: run(4, 1)) == 0


def test_lanes_for_accelerators_give_the_same(gbm):
    family, members = checked(gbm, {}, t1=1.0, saveat=TS, key=KEY, paths=21)
    del members
    rows = np.arange(21.0)[:, None]
    lanes = in_lanes(family, rows, lanes=8)
    sol = sd.ensemble(gbm, {}, paths=21, key=KEY, t1=1.0, saveat=TS)
    np.testing.assert_allclose(lanes.ys, sol.ys, rtol=1e-10)


def test_traced_moments_and_their_gradient(gbm):
    """E x = exp(a t), whose derivative by a is t E x; along fixed paths that of the mean is the mean of those."""

    @jax.jit
    def last(a, key):
        sol = sd.ensemble(gbm.replace(a=a), {}, paths=20, key=key, t1=1.0, saveat=TS, max_steps=64)
        assert "Moments" in repr(sol.moments(x))
        return sol.moments(x).mean[-1], sol.moments(x)

    (value, found), slope = jax.value_and_grad(last, has_aux=True)(0.5, KEY)
    np.testing.assert_allclose(slope, value, rtol=2e-2)
    same = sd.ensemble(gbm, {}, paths=20, key=KEY, t1=1.0, saveat=TS)
    np.testing.assert_allclose(found.quantiles, same.moments(x).quantiles, rtol=1e-10)


def test_what_leaves_its_domain_fails_is_left_out_and_counted_and_is_not_clipped():
    """A square root of a state that its noise takes below zero."""
    pytest.importorskip("matplotlib")
    root = sd.compile(sd.System([Eq(D(x), 0.1 - x + 2 * sp.sqrt(x) * D(W))], name="root"))
    sol = sd.ensemble(root, {}, paths=50, key=KEY, t1=1.0, saveat=TS, throw=False)
    failed = len(sol.failures)
    assert 0 < failed < 50
    assert np.isfinite(sol.ys[sol.ok]).all()
    found, good = sol.moments(x, quantiles=[0.0, 0.4, 1.0]), sol[x][sol.ok]
    np.testing.assert_allclose(found.mean, good.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.variance, good.var(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found.quantiles, np.quantile(good, [0, 0.4, 1], axis=0), rtol=1e-12)
    assert repr(found) == f"Moments of {50 - failed} members at 3 times, {failed} that failed left out"
    assert f"without {failed} that failed" in sol.plot().get_title()
    assert "paths   one a member, of W" in str(sol)
    with pytest.raises(sd.SolveError, match=f"{failed} of 50 members of this ensemble failed; the first is member"):
        sd.ensemble(root, {}, paths=50, key=KEY, t1=1.0, saveat=TS)
    with pytest.raises(sd.ModelError, match="No member"):
        moments(sol[x], np.zeros(50, bool), (0.5,))


def test_intervals_of_their_own(gbm):
    ends = sd.ensemble(gbm.replace(s=0.0), {a: [0.5, -1.0, 2.0]}, key=KEY, t1=1 / a, saveat=[0.1, 0.4], throw=False)
    assert ends.ok.tolist() == [True, False, True]
    np.testing.assert_allclose(ends[x][0], np.exp([0.05, 0.2]), rtol=1e-3)
    assert "runs forward in time" in ends.failures[1]


def test_single_precision_counts_members_exactly():
    with jax.enable_x64(False):
        z = sd.state("z", 1.0)
        model = sd.compile(sd.System([Eq(D(z), -z + D(W))], name="single"))
        sol = sd.ensemble(model, {}, paths=40, key=KEY, t1=1.0, saveat=[1.0])
        assert sol.ys.dtype == np.float32
        assert len(np.unique(sol.ys)) == 40


def test_refusals(gbm):
    quiet = sd.compile(sd.System([Eq(D(x), -a * x)], name="quiet"))
    run = lambda model, values, **o: sd.ensemble(model, values, t1=1.0, saveat=TS, **o)  # noqa: E731
    for call, part in (
        (lambda: run(gbm, {}, paths=10), "needs a key"),
        (lambda: run(gbm, {a: [0.1, 0.2]}), "needs a key"),
        (lambda: run(gbm, {}, key=KEY), "paths=1000"),
        (lambda: run(gbm, {a: [0.1, 0.2]}, key=KEY, paths=3), "values for 2 members, and there are to be 3 paths"),
        (lambda: run(gbm, {}, key=KEY, paths=0), "whole number from 1"),
        (lambda: run(gbm, {}, key=KEY, paths=2**24 + 1), "whole number from 1"),
        (lambda: run(gbm, {}, key=KEY, paths=True), "whole number from 1"),
        (lambda: run(gbm, {}, key=3, paths=3), "no random key"),
        (lambda: run(gbm, {}, key=jax.random.split(KEY, 3), paths=3), "no random key"),
        (lambda: run(quiet, {a: [0.1, 0.2]}, key=KEY), "key= has no use"),
        (lambda: run(quiet, {}, paths=3), "paths= has no use"),
        (lambda: run(gbm, {}, key=KEY, paths=3).moments(x, quantiles=[2.0]), "from 0 to 1"),
        (lambda: run(gbm, {}, key=KEY, paths=3).moments(x, quantiles=["half"]), "list of numbers"),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(sd.ModelError, match=part):
            call()
    assert dataclasses.is_dataclass(run(gbm, {}, key=KEY, paths=3).moments(x))

"""The direct method: distributions against those that are known, and what a path depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

from symdeq.solvers import JumpResults, direct_method

KEYS = jax.random.split(jax.random.key(0), 4000)
DECAY = np.array([[-1.0]])


def simulated(propensities, changes, y0, ts, keys=KEYS, *, t0=0.0, max_jumps=100_000, dtype=jnp.float64):
    """Paths for many keys."""

    def one(key):
        steps, start, begin, times = (jnp.asarray(value, dtype) for value in (changes, y0, t0, ts))
        return direct_method(propensities, steps, start, begin, times, key, max_jumps)

    return jax.jit(jax.vmap(one))(keys)


def agrees(observed, probabilities) -> bool:
    """Pearson's test of counts 0, 1, 2, ... against their probabilities; rare ones are taken together."""
    expected = np.asarray(probabilities) * len(observed)
    counts = np.bincount(np.asarray(observed, int), minlength=len(expected))
    assert len(counts) == len(expected)
    common = expected > 8
    pairs = [np.append(v[common], v[~common].sum()) for v in (counts, expected)]
    keep = pairs[1] > 1e-9 * len(observed)
    return stats.chisquare(pairs[0][keep], pairs[1][keep] * len(observed) / pairs[1][keep].sum()).pvalue > 1e-3


def test_births_and_deaths_are_poisson_at_all_times() -> None:
    k, g = 20.0, 1.0
    ts = np.array([0.3, 1.0, 10.0])
    paths = simulated(lambda y: jnp.stack([k + 0 * y[0], g * y[0]]), [[1.0], [-1.0]], [0.0], ts)
    assert np.all(paths.result == JumpResults.successful)
    for i, m in enumerate(k / g * (1 - np.exp(-g * ts))):
        counts = np.asarray(paths.ys[:, i, 0])
        assert abs(counts.mean() - m) < 4 * np.sqrt(m / len(counts))
        assert abs(counts.var() - m) < 4 * np.sqrt((m + 2 * m**2) / len(counts))  # fourth moment m + 3 m^2
        largest = int(max(counts.max(), m))
        assert agrees(counts, [*stats.poisson.pmf(range(largest), m), stats.poisson.sf(largest - 1, m)])


def test_decay_is_binomial() -> None:
    ts = np.array([0.1, 0.7, 3.0])
    paths = simulated(lambda y: 0.8 * y, DECAY, [30.0], ts)
    for i, survives in enumerate(np.exp(-0.8 * ts)):
        assert agrees(paths.ys[:, i, 0], stats.binom.pmf(range(31), 30, survives))
    end = np.asarray(paths.y_end[:, 0])
    np.testing.assert_array_equal(paths.num_jumps, 30 - end)


def test_dimerisation_follows_the_master_equation() -> None:
    k, back, n = 0.1, 0.5, 6  # 2 A <-> B with 12 molecules of A at the start: B from 0 to 6
    pairs = np.arange(n + 1)
    free = 12.0 - 2 * pairs
    up, down = k * free * (free - 1) / 2, back * pairs
    generator = np.diag(up[:-1], -1) + np.diag(down[1:], 1) - np.diag(up + down)
    ts = np.array([0.05, 0.3, 4.0])
    paths = simulated(
        lambda y: jnp.stack([k * y[0] * (y[0] - 1) / 2, back * y[1]]), [[-2.0, 1.0], [2.0, -1.0]], [12.0, 0.0], ts
    )
    np.testing.assert_array_equal(paths.ys[..., 0] + 2 * paths.ys[..., 1], 12)
    for i, t in enumerate(ts):
        p = linalg.expm(t * generator)[:, 0]
        counts = np.asarray(paths.ys[:, i, 1])
        mean, variance = p @ pairs, p @ pairs**2 - (p @ pairs) ** 2
        fourth = p @ (pairs - mean) ** 4
        assert abs(counts.mean() - mean) < 4 * np.sqrt(variance / len(counts))
        assert abs(counts.var() - variance) < 4 * np.sqrt((fourth - variance**2) / len(counts))
        assert agrees(counts, p)


def test_the_first_time_is_exponential_and_independent_of_which_reaction_it_is() -> None:
    rates = jnp.array([2.0, 3.0])
    paths = simulated(lambda y: rates, np.eye(2), [0.0, 0.0], [100.0], max_jumps=1)
    assert np.all(paths.result == JumpResults.max_jumps_reached)
    times, first = np.asarray(paths.t_end), np.asarray(paths.y_end[:, 0])
    assert stats.kstest(times, stats.expon(scale=1 / 5).cdf).pvalue > 0.01
    for group in (times[first == 1], times[first == 0]):
        assert stats.kstest(group, stats.expon(scale=1 / 5).cdf).pvalue > 0.01
    assert stats.binomtest(int(first.sum()), len(first), 0.4).pvalue > 0.01


def test_a_path_does_not_depend_on_when_it_is_looked_at_nor_on_the_others() -> None:
    def births(y):
        return jnp.stack([5.0 + 0 * y[0], y[0]])

    changes, fine = [[1.0], [-1.0]], np.linspace(0.0, 6.0, 61)
    all_of_them = simulated(births, changes, [3.0], fine, KEYS[:50])
    coarse = simulated(births, changes, [3.0], fine[::10], KEYS[:50])
    np.testing.assert_array_equal(all_of_them.ys[:, ::10], coarse.ys)
    given = (jnp.array(changes), jnp.array([3.0]), jnp.array(0.0), jnp.asarray(fine))
    alone = direct_method(births, *given, KEYS[7], 1000)
    np.testing.assert_array_equal(alone.ys, all_of_them.ys[7])
    nested = jax.vmap(
        lambda rate: jax.vmap(lambda key: direct_method(lambda y: rate * births(y), *given, key, 1000))(KEYS[:50])
    )(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(nested.ys[0], all_of_them.ys)
    assert nested.num_jumps[1].sum() > nested.num_jumps[0].sum()


def test_what_cannot_go_on_stays_as_it_is() -> None:
    paths = simulated(lambda y: y, DECAY, [3.0], [0.0, 1.0, 100.0], KEYS[:20])
    np.testing.assert_array_equal(paths.ys[:, 0, 0], 3)
    np.testing.assert_array_equal(paths.ys[:, -1, 0], 0)
    np.testing.assert_array_equal(paths.num_jumps, 3)
    np.testing.assert_array_equal(paths.t_end, 100)


def test_a_reaction_without_propensity_never_happens() -> None:
    rates = jnp.array([0.0, 1.0, 0.0, 2.0, 0.0])
    paths = simulated(lambda y: rates, np.eye(5), np.zeros(5), [50.0], KEYS[:200])
    np.testing.assert_array_equal(np.asarray(paths.y_end).any(axis=0), [False, True, False, True, False])


def test_single_precision_adds_up_waiting_times_below_its_resolution() -> None:
    # 1e-5 on average, where the time has steps of 6e-5.
    rate, t0, t1 = 1e5, 1000.0, 1000.5
    paths = simulated(lambda y: jnp.full(1, rate, y.dtype), [[1.0]], [0.0], [t1], KEYS[:32], t0=t0, dtype=jnp.float32)
    mean = rate * (t1 - t0)
    assert abs(np.mean(paths.num_jumps) - mean) < 4 * np.sqrt(mean / 32)


@pytest.mark.parametrize(
    ("propensity", "y0", "ts", "result", "jumps"),
    [
        (lambda y: y, 8.0, [0.0, 100.0], JumpResults.max_jumps_reached, 5),
        (lambda y: 1 + 0 * y, 2.0, [0.0, 100.0], JumpResults.negative_count, 2),
        (lambda y: y - 1, 3.0, [0.0, 100.0], JumpResults.successful, 2),
        (lambda y: y - 0.5, 3.0, [0.0, 100.0], JumpResults.bad_propensity, 3),
        (lambda y: 1 / jnp.maximum(y - 1, 0), 3.0, [0.0, 100.0], JumpResults.bad_propensity, 2),
        (lambda y: y, 1.5, [0.0, 100.0], JumpResults.bad_start, 0),
        (lambda y: y, -1.0, [0.0, 100.0], JumpResults.bad_start, 0),
        (lambda y: y, 3.0, [0.0, 2.0, 1.0, 100.0], JumpResults.bad_times, 0),
        (lambda y: y, 3.0, [-1.0, 100.0], JumpResults.bad_times, 0),
        (lambda y: y, 3.0, [0.0, jnp.nan], JumpResults.bad_times, 0),
    ],
)
def test_a_path_that_fails_says_why_and_is_not_finished(propensity, y0, ts, result, jumps) -> None:
    path = simulated(propensity, DECAY, [y0], ts, KEYS[:3], max_jumps=5)
    assert np.all(path.result == result)
    np.testing.assert_array_equal(path.num_jumps, jumps)
    if result != JumpResults.successful:
        assert np.isnan(path.ys[:, -1]).all()
        np.testing.assert_array_equal(path.y_end[:, 0], y0 - jumps)
        assert np.all(path.t_end < 100)


def test_counts_beyond_what_is_exact_are_refused() -> None:
    path = simulated(lambda y: 1 + 0 * y, [[1.0]], [2.0**24 - 2], [100.0], KEYS[:3], dtype=jnp.float32)
    assert np.all(path.result == JumpResults.count_too_large)
    np.testing.assert_array_equal(path.y_end[:, 0], 2.0**24 - 1)

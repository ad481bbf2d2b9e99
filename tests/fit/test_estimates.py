"""Estimates, standard errors and likelihoods against closed forms and SciPy."""

from typing import Any

import jax
import numpy as np
import pytest
from scipy import optimize, stats

import symdeq as sd
from tests.fit.problems import TRUE, chain, chain_solution, decay, exact, hare_and_lynx, line, noisy

RNG = np.random.default_rng(7)
TS = np.linspace(0.0, 4.0, 15)
SCATTERED = 0.7 + 0.3 * TS + 0.1 * RNG.normal(size=15)
DECAYING = 2 * np.exp(-0.7 * TS) + 0.05 * RNG.normal(size=15)


@pytest.fixture(scope="module")
def line_fit() -> sd.Fit:
    return sd.fit(line(), {"time": TS, "x": SCATTERED})


def test_a_linear_model_is_linear_regression(line_fit: sd.Fit):
    design = np.stack([np.ones(15), TS], axis=1)
    best, squares, _, _ = np.linalg.lstsq(design, SCATTERED, rcond=None)
    sigma = np.sqrt(squares[0] / 13)
    covariance = sigma**2 * np.linalg.inv(design.T @ design)
    assert np.array(list(line_fit.estimates.values())) == pytest.approx(best, rel=1e-7)
    assert line_fit.covariance == pytest.approx(covariance, rel=1e-6)
    assert line_fit.freedom == pytest.approx(13)
    assert line_fit.sigma["x"] == pytest.approx(sigma, rel=1e-7)
    assert line_fit.sigma_stderr["x"] == pytest.approx(sigma / np.sqrt(26), rel=1e-7)
    half = stats.t.ppf(0.975, 13) * np.sqrt(np.diag(covariance))
    assert np.array(list(line_fit.interval().values())) == pytest.approx(
        np.stack([best - half, best + half], axis=1), rel=1e-6
    )
    likely = np.sqrt(squares[0] / 15)
    assert line_fit.log_likelihood == pytest.approx(stats.norm.logpdf(SCATTERED, design @ best, likely).sum(), rel=1e-8)
    assert line_fit.aic == pytest.approx(2 * 3 - 2 * line_fit.log_likelihood)
    assert line_fit.bic == pytest.approx(3 * np.log(15) - 2 * line_fit.log_likelihood)
    assert line_fit.residuals["x"] == pytest.approx(SCATTERED - design @ best, abs=1e-7)
    assert line_fit.correlation[0, 1] == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-6
    )


def test_the_profile_of_a_linear_model_is_the_interval_of_student(line_fit: sd.Fit):
    profile = line_fit.profile("b")
    assert profile.interval == pytest.approx(line_fit.interval()["b"], rel=1e-5)
    assert profile.costs.min() == pytest.approx(line_fit.cost)
    assert (np.diff(profile.values) > 0).all()
    # Along the profile, a is the regression of what b leaves.
    assert profile.others[:, 0] == pytest.approx(np.mean(SCATTERED) - profile.values * np.mean(TS), rel=1e-6)


def test_predictions_of_a_linear_model_have_the_bands_of_regression(line_fit: sd.Fit):
    times = np.array([5.0, 0.0, 2.0])
    prediction = line_fit.predict(times, level=0.9)
    design = np.stack([np.ones(3), times], axis=1)
    variance = np.einsum("ti,ij,tj->t", design, line_fit.covariance, design)
    width, sigma = stats.t.ppf(0.95, 13), line_fit.sigma["x"]
    middle = design @ list(line_fit.estimates.values())
    assert prediction["x"].value == pytest.approx(middle, rel=1e-7)
    assert prediction["x"].high == pytest.approx(middle + width * np.sqrt(variance), rel=1e-6)
    assert prediction["x"].measurement_low == pytest.approx(middle - width * np.sqrt(variance + sigma**2), rel=1e-6)


@pytest.mark.parametrize("sigma", [None, 0.08])
def test_decay_agrees_with_scipy(sigma: float | None):
    def curve(t, k, x0):
        return x0 * np.exp(-k * t)

    given = None if sigma is None else np.full(15, sigma)
    best, covariance = optimize.curve_fit(
        curve,
        TS,
        DECAYING,
        p0=(1, 1),
        sigma=given,
        absolute_sigma=sigma is not None,
        ftol=1e-14,
        xtol=1e-14,
        gtol=1e-14,
    )
    fit = sd.fit(decay(), {"time": TS, "x": DECAYING}, noise=sd.Normal(sigma=sigma), unknowns=["k", "x"])
    assert np.array(list(fit.estimates.values())) == pytest.approx(best, rel=1e-6)
    assert fit.covariance == pytest.approx(covariance, rel=1e-4)  # SciPy's derivatives are differences
    assert fit.freedom == (pytest.approx(13) if sigma is None else np.inf)
    width = stats.t.ppf(0.975, 13) if sigma is None else stats.norm.ppf(0.975)
    relative = width * fit.stderr["k"] / fit.estimates["k"]
    low, high = fit.interval()["k"]  # symmetric on the logarithmic scale
    assert (low, high) == pytest.approx(
        (fit.estimates["k"] * np.exp(-relative), fit.estimates["k"] * np.exp(relative)), rel=1e-8
    )
    assert fit.interval()["x"] == pytest.approx(
        (best[1] - width * fit.stderr["x"], best[1] + width * fit.stderr["x"]), rel=1e-5
    )
    assert float(fit.model["k"]) == fit.estimates["k"]
    assert float(fit.model["x"]) == fit.estimates["x"]


def _columns(seed: int = 3):
    ts = np.linspace(0.5, 8, 16)
    A, B = chain_solution(0.6, 0.25, ts)
    rng = np.random.default_rng(seed)
    return ts, A + 0.02 * rng.normal(size=16), B * np.exp(0.3 * rng.normal(size=16))


@pytest.mark.parametrize("known", [None, 0.05])
def test_columns_of_different_noise_get_their_maximum_likelihood_weights(known: float | None):
    """A normal, B log-normal; both sigmas estimated, and one known: SciPy maximises the full likelihood."""
    ts, A, B = _columns()

    def cost(u):
        k, m, log_a, log_b = u
        model_a, model_b = chain_solution(k, m, ts)
        of_a = stats.norm.logpdf(A, model_a, np.exp(log_a) if known is None else known)
        of_b = stats.lognorm.logpdf(B, s=np.exp(log_b), scale=model_b)
        return -(of_a.sum() + of_b.sum())

    tight = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20000, "maxfev": 20000}
    best = optimize.minimize(cost, [0.7, 0.3, -3, -1], method="Nelder-Mead", options=tight)
    noise = {"A": sd.Normal(sigma=known), "B": sd.LogNormal()}
    # A = 1, B = 0 at time 0, where nothing was measured.
    fit = sd.fit(chain(), {"time": ts, "A": A, "B": B}, noise=noise, t0=0.0)
    assert fit.estimates["k"] == pytest.approx(best.x[0], rel=1e-5)
    assert fit.estimates["m"] == pytest.approx(best.x[1], rel=1e-5)
    assert fit.log_likelihood == pytest.approx(-best.fun, rel=1e-8)
    assert fit.gradient_norm < 1e-4
    assert fit.ok
    if known is None:
        # Two sigmas share the two degrees of freedom that the unknowns take: their sum is n - p.
        likely = np.exp(best.x[2:])
        left = 16 * (likely / np.array([fit.sigma["A"], fit.sigma["B"]])) ** 2
        assert left.sum() == pytest.approx(30, rel=1e-4)
        assert (left < 16).all()
        assert fit.freedom == pytest.approx(30)
    else:
        assert fit.sigma["A"] == known
        assert fit.sigma_stderr["A"] == 0


def test_log_normal_is_normal_in_the_logarithm():
    positive = 2 * np.exp(-0.7 * TS + 0.1 * np.random.default_rng(1).normal(size=15))
    fit = sd.fit(
        decay(), {"time": TS, "x": positive}, noise=sd.LogNormal(), unknowns={"k": None, "x": sd.Unknown(scale="log")}
    )
    line: Any = stats.linregress(TS, np.log(positive))
    assert fit.estimates["k"] == pytest.approx(-line.slope, rel=1e-6)
    assert fit.stderr["k"] == pytest.approx(line.stderr, rel=1e-5)
    assert fit.estimates["x"] == pytest.approx(np.exp(line.intercept), rel=1e-6)
    assert fit.stderr["x"] == pytest.approx(np.exp(line.intercept) * line.intercept_stderr, rel=1e-5)
    normal = sd.fit(decay(), {"time": TS, "x": positive}, unknowns=["k", "x"])
    assert normal.estimates["k"] != pytest.approx(fit.estimates["k"], rel=1e-3)


def test_lotka_volterra_is_recovered_exactly_without_noise():
    data = {"time": noisy(0)["time"], "hare": exact()[:, 0], "lynx": exact()[:, 1]}
    fit = sd.fit(hare_and_lynx(), data, noise=sd.LogNormal())
    assert fit.ok
    assert dict(fit.estimates) == pytest.approx(TRUE, rel=1e-6)


def test_lotka_volterra_from_several_starts():
    fit = sd.fit(hare_and_lynx(), noisy(0), noise=sd.LogNormal(), starts=8, key=jax.random.key(0))
    assert fit.starts.agreeing.sum() >= 2
    assert (np.abs([np.log(fit.estimates[n] / TRUE[n]) for n in TRUE]) < 0.1).all()
    assert fit.sigma["hare"] == pytest.approx(0.05, rel=0.35)
    assert float(fit.model["a"]) == fit.estimates["a"]
    assert "8 starts reached the best fit" in str(fit)
    again = sd.fit(hare_and_lynx(), noisy(0), noise=sd.LogNormal(), starts=8, key=jax.random.key(0))
    assert dict(again.estimates) == dict(fit.estimates)  # the same key, the same answer


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say():
    """100 data sets (seeds 0 to 99) of 41 times and two columns with 5 % log-normal errors, from the model's values.

    For each of the six unknowns on its own we count in how many of the 100 data sets its 95 % interval holds its true
    value: at least 90, for every one of them. An exact interval falls below that in 1.1 % of such counts.
    """
    fits = [sd.fit(hare_and_lynx(), noisy(seed), noise=sd.LogNormal()) for seed in range(100)]
    assert all(fit.ok for fit in fits)
    intervals = [fit.interval() for fit in fits]
    for name, true in TRUE.items():
        covered = sum(low <= true <= high for low, high in (i[name] for i in intervals))
        assert covered >= 90, f"{name}: {covered} of 100"
    # The estimated noise is that of the draws: what the six unknowns take up scatters the mean of 100 by 0.23 %.
    estimated = np.sqrt(np.mean([np.square(list(fit.sigma.values())) for fit in fits]))
    drawn = np.sqrt(
        np.mean(
            [np.log(noisy(seed)[n] / exact()[:, i]) ** 2 for seed in range(100) for i, n in enumerate(("hare", "lynx"))]
        )
    )
    assert estimated == pytest.approx(drawn, rel=0.01)

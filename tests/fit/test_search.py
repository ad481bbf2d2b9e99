"""The search from many starts: isolation of failures, bounds, honest reports, and no recompilation."""

import jax
import numpy as np
import pytest

import symdeq as sd
from symdeq.fit import Outcome
from symdeq.fit.estimate import quantiles
from tests.fit.problems import blow_up, decay, two_rates
from tests.models import algebraic, rober

TS = np.linspace(0.0, 1.0, 11)
GROWING = {"time": TS, "x": (1 / (1 - 0.6 * TS)) * np.exp(0.02 * np.random.default_rng(2).normal(size=11))}
FALLING = {"time": 4 * TS, "x": np.exp(-0.7 * 4 * TS) + 0.02 * np.random.default_rng(4).normal(size=11)}


def test_a_start_that_cannot_be_solved_harms_no_other():
    """Every start with k > 1 runs into a singularity."""
    alone = sd.fit(blow_up(), GROWING)
    fit = sd.fit(blow_up(), GROWING, starts=12, key=jax.random.key(1), max_steps=500)
    singular = fit.starts.begin[:, 0] > 1
    assert 3 <= singular.sum() <= 8
    assert (fit.starts.failed == singular).all()
    assert fit.starts.agreeing[~singular].all()
    assert fit.estimates["k"] == pytest.approx(alone.estimates["k"], rel=1e-7)
    assert fit.covariance == pytest.approx(alone.covariance, rel=1e-5)
    assert all(fit.starts.outcomes[i] in (Outcome.max_steps, Outcome.not_finite) for i in np.flatnonzero(singular))
    assert np.isinf(fit.starts.costs[singular]).all()
    assert f"{singular.sum()} could not be solved" in fit.summary()
    assert str(fit.starts).count("could not be solved from there") == singular.sum()
    assert len(fit.starts.to_pandas()) == 12


def test_the_first_start_may_fail_too():
    fit = sd.fit(blow_up().replace(k=5.0), GROWING, starts=12, key=jax.random.key(1), max_steps=500)
    assert fit.starts.failed[0]
    assert fit.estimates["k"] == pytest.approx(0.6, rel=0.05)


def test_no_start_at_all_is_an_error_that_says_why():
    model = blow_up().replace(k=5.0)
    with pytest.raises(sd.FitError) as caught:
        sd.fit(model, GROWING, max_steps=500)
    text = str(caught.value)
    assert "1 of 1: could not be solved from there" in text
    assert "t = 0.2" in text  # the solve's own account, with the place of the singularity
    assert "remedy" in text
    fit = sd.fit(model, GROWING, max_steps=500, throw=False)
    assert not fit.ok
    assert "NOT converged" in str(fit)
    assert np.isinf(fit.stderr["k"])


def test_iterations_are_bounded_and_running_out_is_reported():
    with pytest.raises(sd.FitError, match="iterations were used up"):
        sd.fit(decay().replace(k=50.0), FALLING, iterations=2)
    fit = sd.fit(decay().replace(k=50.0), FALLING, iterations=2, throw=False)
    assert not fit.ok
    assert fit.starts.iterations[0] == 2


def test_an_unknown_at_its_bound_is_named():
    unknowns = {"k": sd.Unknown(bounds=(1.0, 5.0))}
    with pytest.warns(sd.SymdeqWarning, match="`k` at a bound"):
        fit = sd.fit(decay().replace(k=2.0), FALLING, unknowns=unknowns)
    assert fit.ok
    assert fit.at_bound == ("k",)
    assert fit.estimates["k"] == pytest.approx(1.0, rel=1e-3)
    assert fit.estimates["k"] >= 1
    assert fit.interval()["k"][0] == pytest.approx(1)
    assert "at a bound" in fit.summary()


@pytest.mark.parametrize(
    "unknown",
    [
        sd.Unknown(),
        sd.Unknown(bounds=(0.5, 3.0)),
        sd.Unknown(bounds=(0.1, None), scale="linear"),
        sd.Unknown(bounds=(None, 9.0), scale="linear"),
        sd.Unknown(bounds=(None, None), scale="linear"),
        sd.Unknown(bounds=(None, None), scale="log"),
    ],
)
def test_bounds_that_do_not_hold_and_scales_change_nothing(unknown: sd.Unknown):
    reference = sd.fit(decay(), FALLING)
    fit = sd.fit(decay(), FALLING, unknowns={"k": unknown})
    assert fit.estimates["k"] == pytest.approx(reference.estimates["k"], rel=1e-6)
    assert fit.stderr["k"] == pytest.approx(reference.stderr["k"], rel=1e-5)


def test_what_the_measurements_cannot_tell_apart_is_named():
    with pytest.warns(sd.SymdeqWarning, match="log a - log b"):
        fit = sd.fit(two_rates(), FALLING, unknowns=["a", "b"])
    assert fit.ok
    assert fit.estimates["a"] * fit.estimates["b"] == pytest.approx(sd.fit(decay(), FALLING).estimates["k"], rel=1e-6)
    assert np.isinf([fit.stderr["a"], fit.stderr["b"]]).all()
    assert fit.interval()["a"] == (0, np.inf)
    assert np.isnan(fit.correlation[0, 1])
    assert "log a - log b" in fit.summary()


def test_an_unknown_without_influence_is_named_and_the_others_keep_their_errors():
    with pytest.warns(sd.SymdeqWarning, match="do not change along c"):
        fit = sd.fit(two_rates(), FALLING, unknowns=["a", "c"])
    reference = sd.fit(decay(), FALLING)
    assert np.isinf(fit.stderr["c"])
    assert fit.stderr["a"] * 0.5 == pytest.approx(reference.stderr["k"], rel=0.1)
    assert fit.profile("c").interval == (-np.inf, np.inf)


def test_new_data_of_the_same_shape_do_not_recompile():
    sd.fit(decay(), FALLING)
    lowered = []
    listener = lambda event, *_, **__: lowered.append(event) if "jaxpr_to_mlir" in event else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        other = {"time": 3 * TS + 0.1, "x": np.exp(-1.1 * TS) + 0.01}
        fit = sd.fit(decay().replace(k=1.3), other, unknowns={"k": sd.Unknown(bounds=(0.2, 20.0))})
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert fit.ok
    assert not lowered


def test_progress_gives_the_same_answer(capsys: pytest.CaptureFixture[str]):
    plain = sd.fit(decay(), FALLING, starts=3, key=jax.random.key(0))
    shown = sd.fit(decay(), FALLING, starts=3, key=jax.random.key(0), progress=True)
    assert dict(shown.estimates) == pytest.approx(dict(plain.estimates), rel=1e-9)
    assert "3/3" in capsys.readouterr().err


def test_starts_are_a_latin_hypercube_and_lie_within_the_bounds():
    q = quantiles(jax.random.key(3), 16, 4)
    assert (np.sort(np.floor(16 * q), axis=0) == np.arange(16)[:, None]).all()
    fit = sd.fit(decay(), FALLING, starts=9, key=jax.random.key(0), unknowns={"k": sd.Unknown(bounds=(0.5, 2.0))})
    assert fit.starts.begin[0] == 1
    assert ((fit.starts.begin >= 0.5) & (fit.starts.begin <= 2)).all()


def test_unknowns_that_cannot_be():
    for unknowns, words in [
        (["k", "k"], "twice"),
        (["q"], "no symbol"),
        ("k", "must be a list"),
        ({"k": (0, 1)}, "must be an sd.Unknown"),
        ({"k": sd.Unknown(bounds=(2.0, 3.0))}, "outside its bounds"),
        ({"x": sd.Unknown(bounds=(-3.0, -2.0), scale="log")}, "not positive"),
    ]:
        with pytest.raises(sd.ModelError, match=words):
            sd.fit(decay(), FALLING, unknowns=unknowns)
    with pytest.raises(sd.ModelError, match="are empty"):
        sd.Unknown(bounds=(3.0, 2.0))
    with pytest.raises(sd.ModelError, match='"linear" or "log"'):
        sd.Unknown(scale="square")  # pyright: ignore
    with pytest.raises(sd.ModelError, match="positive number"):
        sd.Normal(sigma=-1.0)
    with pytest.raises(sd.ModelError, match="no number for `kk`"):
        sd.fit(decay(), FALLING).estimates["kk"]


def test_a_parameter_without_a_value_starts_in_the_middle_of_its_bounds():
    k = sd.parameter("k")
    x = sd.state("x", 1.0)
    model = sd.compile(sd.System([sd.Eq(sd.D(x), -k * x)], name="unknown_rate"))
    with pytest.raises(sd.ModelError, match="no value and no bounds"):
        sd.fit(model, FALLING)
    fit = sd.fit(model, FALLING, unknowns={k: sd.Unknown(bounds=(0.1, 10.0), scale="log")})
    assert fit.starts.begin[0, 0] == pytest.approx(1)
    assert fit.estimates[k] == pytest.approx(sd.fit(decay(), FALLING).estimates["k"], rel=1e-6)
    with pytest.raises(sd.ModelError, match="has no value and is not among the unknowns"):
        sd.fit(model, FALLING, unknowns=[x])


def test_an_initial_value_that_the_equations_determine_is_no_unknown():
    with pytest.raises(sd.ModelError, match="algebraic equations"):
        sd.fit(algebraic(), {"time": [0.0, 1.0, 2.0], "x": [1.0, 0.5, 0.2]}, unknowns=["z"])


def test_pictures():
    fit = sd.fit(decay(), FALLING, unknowns=["k", "x"])
    axes = fit.plot()
    assert axes.shape == (2, 1)
    assert axes[0, 0].get_title() == "x"
    profile = fit.profile("k")
    assert profile.plot().get_xlabel() == "k"
    low, high = fit.interval()["k"]
    assert profile.interval == pytest.approx((low, high), rel=0.02)


def test_a_prediction_beyond_a_singularity_is_an_error():
    fit = sd.fit(blow_up(), GROWING, max_steps=500)
    with pytest.raises(sd.FitError, match=r"from t0 = 0 up to 3.*\n  remedy"):
        fit.predict([0.5, 3.0])
    with pytest.raises(sd.ModelError, match="before t0"):
        fit.predict([-1.0, 0.5])
    with pytest.raises(sd.ModelError, match="between 0 and 1"):
        fit.interval(95)


def test_algebraic_equations_and_stiff_reactions_can_be_fitted():
    """Fits of a model with an algebraic equation, and of Robertson's reactions, whose rates differ by nine decades."""
    ts = np.linspace(0, 3, 12)
    exact = sd.solve(algebraic(), 3.0, saveat=ts, rtol=1e-10, atol=1e-12)
    data = {"time": ts, "x": np.asarray(exact["x"]), "z": np.asarray(exact["z"])}
    assert sd.fit(algebraic().replace(k=1.4), data).estimates["k"] == pytest.approx(1, rel=1e-6)

    ts = np.geomspace(1e-3, 1e4, 15)
    ys = np.asarray(sd.solve(rober(), 1e4, saveat=ts, rtol=1e-10, atol=1e-16).ys)
    unknowns = {"k1": sd.Unknown(scale="log"), "k2": sd.Unknown(scale="log"), "k3": sd.Unknown(scale="log")}
    model = rober().replace(k1=0.1, k2=1e7, k3=3e4)
    data = {"time": ts, **{f"y{i + 1}": ys[:, i] for i in range(3)}}
    fit = sd.fit(model, data, t0=0.0, noise=sd.LogNormal(), unknowns=unknowns, atol=1e-15)
    assert dict(fit.estimates) == pytest.approx({"k1": 0.04, "k2": 3e7, "k3": 1e4}, rel=1e-5)

"""The Hudson Bay example against the published fit (Carpenter, Predator-prey dynamics, Stan case study, 2018)."""

from pathlib import Path

import pytest

import symdeq as sd
from examples import hudson_bay

# Posterior mean and standard deviation.
PUBLISHED = {
    "alpha": (0.55, 0.06),
    "beta": (0.028, 0.004),
    "gamma": (0.80, 0.09),
    "delta": (0.024, 0.004),
    "hare0": (34.0, 2.9),
    "lynx0": (5.9, 0.5),
}


@pytest.fixture(scope="module")
def fit() -> sd.Fit:
    return hudson_bay.estimate()


def test_estimates_lie_within_one_published_standard_deviation(fit: sd.Fit):
    assert fit.ok
    assert fit.starts.agreeing.sum() >= 2
    for name, (mean, deviation) in PUBLISHED.items():
        assert abs(fit.estimates[name] - mean) < deviation, name


def test_standard_errors_and_noise_are_of_the_published_size(fit: sd.Fit):
    for name, (_, deviation) in PUBLISHED.items():
        assert fit.stderr[name] == pytest.approx(deviation, rel=0.25), name
    assert fit.sigma["hare"] == pytest.approx(0.25, abs=fit.sigma_stderr["hare"])
    assert fit.sigma["lynx"] == pytest.approx(0.25, abs=fit.sigma_stderr["lynx"])


def test_every_published_value_lies_in_its_interval(fit: sd.Fit):
    intervals = fit.interval()
    assert all(intervals[name][0] < mean < intervals[name][1] for name, (mean, _) in PUBLISHED.items())


def test_the_script_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    fit = hudson_bay.main(tmp_path / "new")
    printed = capsys.readouterr().out
    assert str(fit) in printed
    assert all(name in printed for name in PUBLISHED)
    figure = (tmp_path / "new" / "hudson_bay.png").read_bytes()
    assert figure.startswith(b"\x89PNG")
    assert len(figure) > 20_000

"""`train` on quadratics whose course is known, and on models; `MultipleShooting` and `roughness`."""

import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symdeq as sd
from symdeq import D, Eq
from symdeq.nn import MultipleShooting, ODELayer, TrainingError, roughness, train
from tests import models

TARGET = np.array([1.0, -2.0])


def square(x, target=TARGET):
    return jnp.sum((x - target) ** 2)


def test_gradient_descent_as_by_hand():
    training = train(jnp.zeros(2), square, steps=5, optimiser=optax.sgd(0.25), progress=False)
    np.testing.assert_allclose(training.losses, 5 * 0.25 ** np.arange(5))  # each step halves the distance
    np.testing.assert_allclose(training.module, TARGET * (1 - 0.5**5))
    assert training.seconds.shape == (5,)
    assert training.ended == "all steps were done"
    said = str(training)
    for part in ("5 steps", "5 at first", "0.0195312 at last", "ms a step"):
        assert part in said
    [line] = training.plot().lines
    np.testing.assert_array_equal(line.get_ydata(), training.losses)


def test_nothing_compiles_again():
    traced = 0

    def loss(module, data):
        nonlocal traced
        traced += 1
        return square(module["x"], data["target"])

    optimiser = optax.adam(1e-2)
    module = {"x": jnp.zeros(2), "name": "kept as it is"}
    for k in range(3):
        training = train(module, loss, {"target": TARGET + k}, steps=10, optimiser=optimiser, progress=False)
        module = training.module
    assert traced == 1
    assert module["name"] == "kept as it is"


def test_the_callback_sees_the_module_of_its_loss_and_ends_the_training():
    seen = []

    def callback(step, loss, module):
        seen.append((step, loss, float(square(module))))
        return loss < 0.1

    training = train(jnp.zeros(2), square, steps=50, optimiser=optax.sgd(0.25), callback=callback, progress=False)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3]
    assert all(loss == pytest.approx(again) for _, loss, again in seen)
    assert training.ended == "the callback ended it at step 3"
    assert float(square(training.module)) == pytest.approx(training.losses[-1])


def test_a_loss_that_is_not_finite_ends_it_with_the_last_good_module():
    def loss(x):
        return jnp.where(x > 2.5, jnp.nan, -x)

    with pytest.raises(
        TrainingError, match=r"(?s)loss is nan at step 3; the step before it was -2.*clip gradients"
    ) as caught:
        train(jnp.asarray(0.0), loss, steps=10, optimiser=optax.sgd(1.0), progress=False)
    assert float(caught.value.training.module) == 2.0
    np.testing.assert_allclose(caught.value.training.losses, [0, -1, -2])


def test_a_gradient_that_is_not_finite_ends_it_too():
    with pytest.raises(TrainingError, match="gradient is not finite, at step 0, the first one"):
        train(jnp.asarray(0.0), lambda x: jnp.sqrt(x), steps=3, progress=False)


def test_a_failed_solve_ends_it():
    layer = ODELayer(models.growth(), inputs=[], outputs=["r"], t1=1.0, max_steps=30)

    with pytest.raises(TrainingError, match="where a solve failed") as caught:
        train(layer, lambda layer: -layer()[0], steps=20, optimiser=optax.sgd(100.0), progress=False)
    assert jnp.isfinite(caught.value.training.module()).all()


def test_batches_that_end_by_themselves_and_progress_in_text(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    training = train(jnp.zeros(2), square, batches=(TARGET * k for k in range(7)), steps=20, optimiser=optax.sgd(0.1))
    assert len(training.losses) == 7
    train(jnp.zeros(2), square, batches=(TARGET for _ in range(3)), optimiser=optax.sgd(0.1), progress=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"train: {k} of 20 steps" for k in (2, 4, 6)]


def test_what_is_not_trainable_stays():
    module = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    loss = lambda m: square(m["a"]) + square(m["b"])  # noqa: E731
    only_a = train(module, loss, steps=3, trainable={"a": True, "b": False}, progress=False).module
    assert float(jnp.abs(only_a["a"]).min()) > 0
    np.testing.assert_array_equal(only_a["b"], 0)


def test_scaling_from_nominal_values_serves_values_of_any_size():
    """With one learning rate, each of k = (0.04, 3e7, 1e4) moves by a tenth of its size."""
    model = models.rober()
    loss = lambda m: jnp.sum((m.values / jnp.array([0.05, 2e7, 2e4]) - 1) ** 2)  # noqa: E731
    settings = {"steps": 200, "optimiser": optax.adam(0.05), "progress": False}
    plain, scaled = train(model, loss, **settings), train(model, loss, scaled=True, **settings)
    np.testing.assert_allclose(scaled.module.values, [0.05, 2e7, 2e4], rtol=1e-2)
    np.testing.assert_allclose(plain.module.values[1:], model.values[1:], rtol=1e-2)  # hardly moved
    assert scaled.losses[0] == plain.losses[0]


def test_log_scaled_parameters_stay_positive():
    x = sd.state("x", 1.0)
    k, m = sd.parameter("k", 1e-3, scale="log"), sd.parameter("m", 1e-3)
    model = sd.compile(sd.System([Eq(D(x), -k * x + m)], name="decay"))
    loss = lambda model: jnp.sum(model.values)  # noqa: E731
    trained = train(model, loss, steps=20, optimiser=optax.sgd(1e3), scaled=True, progress=False).module
    assert 0 < float(trained["k"]) < 1e-3
    assert float(trained["m"]) < 0


def test_a_horizon_that_grows_does_not_compile_again():
    model = models.lotka_volterra()
    ts = np.linspace(0.25, 10.0, 40)
    truth = ODELayer(model, inputs=[], outputs=["x", "y"], saveat=ts)()
    layer = ODELayer(model.replace(a=1.2, c=2.0), inputs=[], outputs=["x", "y"], saveat=ts, max_steps=512)
    traced = 0

    def loss(layer, horizon):
        nonlocal traced
        traced += 1
        predicted = layer(t1=horizon, saveat=jnp.minimum(ts, horizon))
        return jnp.sum(jnp.where((ts <= horizon)[:, None], predicted - truth, 0) ** 2) / jnp.sum(ts <= horizon)

    horizons = np.minimum(1.0 + np.arange(400) / 30, 10.0)
    rates = eqx.tree_at(lambda m: m.model.values, jax.tree.map(lambda _: False, layer), True)
    training = train(layer, loss, batches=horizons, trainable=rates, optimiser=optax.adam(0.02), progress=False)
    assert traced == 1
    np.testing.assert_allclose(training.module.model.values, model.values, rtol=1e-3)


def test_multiple_shooting_finds_rates_that_one_trajectory_does_not():
    model = models.lotka_volterra()
    ts = np.linspace(0.0, 20.0, 61)
    values = np.asarray(ODELayer(model, inputs=[], outputs=["x", "y"], saveat=ts, rtol=1e-8, atol=1e-8)())
    guess = model.replace(a=0.7, c=5.0)
    layer = ODELayer(guess, inputs=["x", "y"], outputs=["x", "y"], t1=20.0, max_steps=1024)
    settings = {"steps": 500, "optimiser": optax.adam(0.1), "progress": False}

    shooting = MultipleShooting(layer, ts, segments=12, guess=values)
    assert shooting()[0].shape == (61, 2)
    assert shooting()[1].shape == (11, 2)
    found = train(shooting, lambda s: s.loss(values), **settings).module.layer.model
    np.testing.assert_allclose(found.values, model.values, rtol=5e-3)

    scale = np.max(np.abs(values), axis=0)
    one = train(layer, lambda m: jnp.mean(((m(values[0], saveat=ts) - values) / scale) ** 2), **settings)
    assert one.losses[-1] > 0.1


def test_segments_of_the_true_trajectory_have_no_gaps():
    model = models.lotka_volterra()
    ts = np.array([0.3, 0.5, 1.1, 2.0, 2.2, 3.0, 4.5])
    layer = ODELayer(model, inputs=["x", "y"], outputs=["y", "x"], t1=4.5, rtol=1e-10, atol=1e-10)
    states = np.asarray(layer(jnp.ones(2), saveat=ts))[:, ::-1]
    shooting = MultipleShooting(layer, ts, segments=3, guess=states)
    shooting = eqx.tree_at(lambda s: s.starts, shooting, shooting.starts.at[0].set(1.0))  # at t0, before the first time
    outputs, gaps = shooting()
    np.testing.assert_allclose(outputs, states[:, ::-1], rtol=1e-7)
    np.testing.assert_allclose(gaps, 0, atol=1e-8)
    missing = states[:, ::-1].copy()
    missing[2, 0] = np.nan
    assert float(shooting.loss(missing)) < 1e-14


def test_roughness_is_the_mean_square_of_a_derivative():
    ts = np.linspace(0.0, 2.0, 11)
    growth = sd.solve(models.growth(), saveat=ts, rtol=1e-10, atol=1e-10)
    for order in (1, 2, 3):
        expected = np.mean((0.7**order * 2 * np.exp(0.7 * ts)) ** 2)
        assert float(roughness(growth, order)) == pytest.approx(expected, rel=1e-8)
    driven = sd.solve(models.driven(), saveat=ts, rtol=1e-11, atol=1e-13)  # cos(t), by equations that contain t
    assert float(roughness(driven)) == pytest.approx(np.mean(np.cos(ts) ** 2), rel=1e-3)
    with pytest.raises(sd.UnsupportedError, match="algebraic equations"):
        roughness(sd.solve(models.algebraic(), saveat=ts))


HALF: Any = 1.5
WRONG = [
    (lambda: train(jnp.zeros(2), square), "needs the number of steps"),
    (lambda: train(jnp.zeros(2), square, steps=HALF), "whole number"),
    (lambda: train(jnp.zeros(2), square, TARGET, batches=[TARGET]), "Both data and batches"),
    (lambda: train("nothing", square, steps=1), "no arrays to train"),
    (lambda: train(jnp.zeros(2), square, steps=1, optimiser="adam"), "no optimiser"),
    (lambda: train(jnp.zeros(2), lambda x: x, steps=1, progress=False), r"array of shape \(2,\)"),
    (lambda: train(jnp.zeros(2), lambda x: None, steps=1, progress=False), "NoneType"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_right_is_refused(wrong, message):
    with pytest.raises(sd.ModelError, match=message):
        wrong()


def test_without_optax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(sd.MissingExtraError, match=r"symdeq\[nn\]"):
        train(jnp.zeros(2), square, steps=1)


def test_multiple_shooting_refuses_other_layers():
    model = models.lotka_volterra()
    ts = np.linspace(0, 1, 5)
    with pytest.raises(sd.ModelError, match=r"remedy: inputs=\[x, y\]"):
        MultipleShooting(ODELayer(model, inputs=["x"], outputs=["x"], t1=1.0), ts, 2, np.ones(1))
    layer = ODELayer(model, inputs=["x", "y"], outputs=["x"], t1=1.0)
    with pytest.raises(sd.ModelError, match="increasing"):
        MultipleShooting(layer, ts[::-1], 2, np.ones(2))
    with pytest.raises(sd.ModelError, match=r"guess must be .*\(2,\) or \(5, 2\)"):
        MultipleShooting(layer, ts, 2, np.ones((5, 1)))
    with pytest.raises(sd.ModelError, match="segments must be"):
        MultipleShooting(layer, ts, 9, np.ones(2))


def test_another_guess_of_multiple_shooting_compiles_nothing_anew():
    model = models.lotka_volterra()
    times = np.linspace(0.0, 2.0, 9)
    layer = sd.ODELayer(model, ["x", "y"], ["x", "y"], saveat=times, rtol=1e-4)
    count = 0

    @eqx.filter_jit
    @eqx.filter_grad
    def slope(shooting):
        nonlocal count
        count += 1
        return shooting.loss(np.ones((9, 2)))

    for size in (1.0, 2.0):
        found = slope(sd.MultipleShooting(layer, times, 2, size * np.ones((9, 2))))
        np.testing.assert_array_equal(found.sizes, 0.0)
    assert count == 1

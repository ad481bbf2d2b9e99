"""`ODELayer` against hand-written diffrax, and rows 2, 4, 5, 6, 7 and 20 of the acceptance table."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symdeq as sd
from symdeq import D, Eq
from symdeq.nn import ODELayer, train
from tests import models

P0 = (2.2, 1.0, 2.0, 0.4)
RATES = ["a", "b", "c", "d"]


def lotka_volterra(t, u, p):
    x, y = u
    a, b, c, d = p
    return jnp.stack([a * x - b * x * y, -c * y + d * x * y])


def by_hand(p, u0, ts, rtol=1e-9, atol=1e-9) -> Any:
    return dfx.diffeqsolve(
        dfx.ODETerm(lotka_volterra), dfx.Tsit5(), 0.0, ts[-1], None, u0, p, saveat=dfx.SaveAt(ts=ts),
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol), max_steps=2048,
    ).ys  # fmt: skip


def layer_of_rates(**settings) -> ODELayer:
    return ODELayer(models.lotka_volterra(), inputs=RATES, outputs=["x"], **{"t1": 10.0, "saveat": 0.1, **settings})


def test_row_4_loss_and_gradient_are_those_of_diffrax_by_hand():
    layer = layer_of_rates(rtol=1e-11, atol=1e-11, max_steps=2048)
    ts = jnp.linspace(0.0, 10.0, 101)

    def loss(p):
        return jnp.sum((layer(p)[:, 0] - 1) ** 2)

    def loss_by_hand(p):
        return jnp.sum((by_hand(p, jnp.ones(2), ts, rtol=1e-11, atol=1e-11)[:, 0] - 1) ** 2)

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.array(P0))
    assert float(value) == pytest.approx(4324.598, abs=1e-3)
    value_by_hand, gradient_by_hand = jax.jit(jax.value_and_grad(loss_by_hand))(jnp.array(P0))
    assert float(value) == pytest.approx(float(value_by_hand), rel=1e-6)
    np.testing.assert_allclose(gradient, gradient_by_hand, rtol=1e-6)


def test_rows_4_and_5_a_hundred_steps_bring_both_populations_to_one_with_one_compilation():
    layer = ODELayer(models.lotka_volterra(), inputs=RATES, outputs=["x", "y"], t1=10.0, saveat=0.1, max_steps=512)
    traced, seen = 0, []

    def loss(p):
        nonlocal traced
        traced += 1
        return jnp.sum((layer(p)[:, 0] - 1) ** 2)

    def callback(step, value, p):
        seen.append((step, value, p))

    training = train(
        jnp.array(P0), loss, steps=100, optimiser=optax.adam(0.1), callback=callback, progress=False
    )  # fmt: skip
    assert traced == 1
    assert [step for step, _, _ in seen] == list(range(100))
    np.testing.assert_array_equal(training.losses, [value for _, value, _ in seen])
    np.testing.assert_array_equal(seen[0][2], P0)
    assert training.losses[0] == pytest.approx(4324.598, rel=1e-5)
    assert training.losses[-1] < 1.0
    assert float(jnp.max(jnp.abs(layer(training.module)[20:] - 1))) < 0.2


def test_row_5_new_values_and_new_starts_are_one_program():
    traced = 0

    @eqx.filter_jit
    def end(layer, vector):
        nonlocal traced
        traced += 1
        return layer(vector)

    model = models.lotka_volterra()
    for k in range(4):  # built anew each time: equal layers are one program
        layer = ODELayer(model.replace(b=1.0 + 0.1 * k), inputs=["a", "x"], outputs=["y"], t1=2.0, saveat=[1.0, 2.0])
        end(layer, jnp.array([1.5, 1.0 + k]))
    assert traced == 1


def test_row_2_start_and_end_follow_from_parameters():
    b, d = sd.parameters(b=1.0, d=1.0)
    a, c = sd.parameters(a=1.5, c=3.0)
    x, y = sd.states(x=b, y=d)
    model = sd.compile(sd.System([Eq(D(x), a * x - b * x * y), Eq(D(y), -c * y + d * x * y)], name="from_parameters"))
    layer = ODELayer(model, inputs=[b, d], outputs=[x, y], t1=10 * d, rtol=1e-10, atol=1e-10, max_steps=1024)
    vector = jnp.array([1.0, 1.0])
    np.testing.assert_allclose(layer(vector), [1.0263448, 0.9096911], atol=1e-7)

    def end_by_hand(vector):
        b, d = vector
        ts = jnp.stack([5 * d, 10 * d])
        return by_hand(jnp.stack([1.5, b, 3.0, d]), jnp.stack([b, d]), ts, rtol=1e-10, atol=1e-10)[-1]

    np.testing.assert_allclose(jax.jacrev(layer)(vector), jax.jacrev(end_by_hand)(vector), rtol=1e-6)


def test_row_20_uneven_times_and_any_expression():
    ts = np.sort(np.concatenate([np.geomspace(1e-3, 3.0, 7), [0.0, 2.5]]))
    model = models.growth()
    layer = ODELayer(
        model, inputs=["alpha", "r"], outputs=["r", D(model.states[0]), "alpha"], saveat=ts, rtol=1e-10, atol=1e-10
    )
    r = 2.5 * np.exp(0.4 * ts)
    expected = np.stack([r, 0.4 * r, np.full(9, 0.4)], axis=-1)
    np.testing.assert_allclose(layer(jnp.array([0.4, 2.5])), expected, rtol=1e-8)


def test_times_of_one_call_may_be_traced():
    layer = ODELayer(models.growth(), inputs=["alpha"], outputs=["r"], t1=1.0, rtol=1e-10, atol=1e-10, max_steps=256)

    @jax.jit
    def at(alpha, t1):
        return layer(alpha, t1=t1)[0], layer(alpha, saveat=jnp.stack([t1 / 2, t1]), t1=t1)[:, 0]

    for t1 in (0.5, 2.0):
        last, both = at(jnp.array([0.7]), t1)
        assert float(last) == pytest.approx(2 * np.exp(0.7 * t1), rel=1e-8)
        np.testing.assert_allclose(both, 2 * np.exp(0.7 * np.array([t1 / 2, t1])), rtol=1e-8)
    by_time = jax.grad(lambda t1: layer(jnp.array([0.7]), t1=t1)[0])(1.5)
    assert float(by_time) == pytest.approx(0.7 * 2 * np.exp(0.7 * 1.5), rel=1e-5)


def test_batches_and_derivatives_of_any_kind():
    layer = ODELayer(
        models.growth(), inputs=["alpha", "r"], outputs=["r"], t1=2.0, rtol=1e-10, atol=1e-10, max_steps=256
    )
    vectors = jnp.array([[0.1, 1.0], [0.7, 2.0], [-0.3, 3.0]])
    r = vectors[:, 1] * jnp.exp(2 * vectors[:, 0])
    np.testing.assert_allclose(jax.jit(jax.vmap(layer))(vectors)[:, 0], r, rtol=1e-8)
    slopes = jnp.stack([2 * r, r / vectors[:, 1]], axis=-1)
    np.testing.assert_allclose(jax.vmap(jax.jacrev(layer))(vectors)[:, 0], slopes, rtol=1e-7)
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(layer))(vectors)[:, 0], slopes, rtol=1e-7)


def test_gradient_by_the_models_own_values():
    layer = ODELayer(models.growth(), inputs=["r"], outputs=["r"], t1=2.0, rtol=1e-10, atol=1e-10, max_steps=256)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda layer: layer(jnp.array([3.0]))[0]))(layer)
    assert float(gradient.model["alpha"]) == pytest.approx(2 * 3 * np.exp(1.4), rel=1e-7)
    assert float(gradient.model["r"]) == 0.0  # an input takes its place
    assert all(
        eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(layer)
    )  # nothing else could be trained by mistake


def test_single_precision():
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), models.growth())
    layer = ODELayer(single, inputs=["alpha"], outputs=["r"], t1=2.0, saveat=[1.0, 2.0])
    values = layer(np.array([0.7]))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values[:, 0], 2 * np.exp([0.7, 1.4]), rtol=1e-3)
    gradient = jax.grad(lambda v: jnp.sum(layer(v)))(jnp.array([0.7], jnp.float32))
    assert gradient.dtype == jnp.float32


def test_a_layer_without_inputs():
    layer = ODELayer(models.growth(), inputs=[], outputs=["r"], t1=2.0)
    np.testing.assert_allclose(layer(), [2 * np.exp(1.4)], rtol=1e-4)
    np.testing.assert_allclose(layer(jnp.zeros(0)), layer())


def test_a_failed_solve_is_an_error_outside_jit_and_nan_inside():
    layer = ODELayer(models.growth(), inputs=["alpha"], outputs=["r", "alpha"], t1=2.0, saveat=[1.0, 2.0], max_steps=40)
    with pytest.raises(sd.SolveError, match="max_steps = 40"):
        layer(jnp.array([500.0]))
    alphas = jnp.array([[0.7], [500.0]])
    values = jax.jit(jax.vmap(layer))(alphas)
    assert np.isnan(values[1]).all()
    np.testing.assert_allclose(values[0, :, 0], 2 * np.exp([0.7, 1.4]), rtol=1e-4)

    @jax.grad
    def masked(alphas):
        return jnp.nansum(jax.vmap(layer)(alphas)[:, -1, 0])

    gradient = masked(alphas)[:, 0]
    assert float(gradient[0]) == pytest.approx(4 * np.exp(1.4), rel=1e-3)
    assert np.isfinite(gradient).all()


def test_it_is_a_layer_among_others():
    key = jax.random.key(0)
    ode = ODELayer(models.lotka_volterra(), inputs=RATES, outputs=["x", "y"], t1=1.0)
    network = eqx.nn.Sequential(
        [
            eqx.nn.Linear(3, 4, key=key),
            eqx.nn.Lambda(jax.nn.softplus),
            ode,
            eqx.nn.Linear(2, 1, key=key),
        ]
    )
    assert jax.vmap(network)(jnp.ones((5, 3))).shape == (5, 1)
    assert str(ode) == "ODELayer of `lotka_volterra`: (a, b, c, d) -> (x, y), t = 0 to 1"
    assert str(ode) in str(network)


WRONG = [
    (lambda m: ODELayer(m, ["a", "a"], ["x"], 1.0), "`a` stands twice"),
    (lambda m: ODELayer(m, ["q"], ["x"], 1.0), "no symbol `q`"),
    (lambda m: ODELayer(m, ["a"], ["q"], 1.0), "no symbol `q`"),
    (lambda m: ODELayer(m, "a", ["x"], 1.0), "inputs must be a list"),
    (lambda m: ODELayer(m, ["a"], [], 1.0), "at least one output"),
    (lambda m: ODELayer(m, ["a"], ["x"]), "needs t1"),
    (lambda m: ODELayer(m, ["a"], ["x"], saveat=0.1), "needs t1"),
    (lambda m: ODELayer(m, ["a"], ["x"], 1.0, saveat=[0.5, 2.0]), "saveat contains 2, outside"),
    (lambda m: ODELayer(m, ["a"], ["x"], 1.0, saveat=dfx.SaveAt(steps=True)), "diffrax.SaveAt"),
    (lambda m: ODELayer(m, ["a"], ["x"], m.states[0]), "not a parameter"),
    (lambda m: ODELayer(m, ["a"], ["x"], float("nan")), "t1 must be one finite number"),
    (lambda m: ODELayer(m, ["a"], ["x"], "late"), "t1 must be a number"),
    (lambda m: ODELayer(m, ["a"], ["x"], 1.0, rtol=-1.0), "rtol must be positive"),
    (lambda m: ODELayer(m, ["a"], ["x"], 1.0, max_steps=0), "max_steps must be"),
    (lambda m: ODELayer(m, ["a"], ["x"], 1.0, solver=[]), "solver"),
    (lambda m: ODELayer(m, ["a", "b"], ["x"], 1.0)(jnp.zeros(3)), r"shape \(3,\).*inputs need \(2,\): a, b"),
    (lambda m: ODELayer(m, ["a", "b"], ["x"], 1.0)(jnp.zeros((4, 2))), "jax.vmap"),
    (lambda m: ODELayer(m, ["a", "b"], ["x"], 1.0)(), "needs a vector of its inputs: a, b"),
    (lambda m: ODELayer(m, ["a"], ["x"], 1.0)("one"), "vector of numbers"),
    (lambda m: ODELayer(m.system, ["a"], ["x"], 1.0), "compiled model"),
    (lambda m: jax.jit(lambda t1: ODELayer(m, ["a"], ["x"], t1)(jnp.ones(1)))(1.0), "known when it is built"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_right_is_refused(wrong, message):
    with pytest.raises(sd.ModelError, match=f"(?s){message}"):
        wrong(models.lotka_volterra())


def test_what_follows_from_the_equations_is_no_input():
    x, z = sd.states(x=1.0, z=None)
    model = sd.compile(sd.System([Eq(D(x), -z), Eq(z, 2 * x)], name="eliminated"))
    with pytest.raises(sd.ModelError, match="`z` follows from the equations"):
        ODELayer(model, inputs=[z], outputs=[x], t1=1.0)
    np.testing.assert_allclose(ODELayer(model, [x], [x, z], 1.0)(jnp.ones(1)), np.exp(-2) * np.array([1, 2]), rtol=1e-5)


@pytest.fixture(scope="module")
def digits():
    datasets = pytest.importorskip("sklearn.datasets")
    found = datasets.load_digits()
    return jnp.asarray(found.images / 16.0), jnp.asarray(found.target)


class Perceptron(eqx.Module):
    """Row 6: dense layers around an equation whose parameters are the features."""

    first: eqx.nn.Linear
    ode: ODELayer
    last: eqx.nn.Linear

    def __init__(self, key):
        one, two = jax.random.split(key)
        x = [sd.state(f"x{i}", 0.5) for i in range(4)]
        k = [sd.parameter(f"k{i}", 1.0) for i in range(8)]
        ring = [Eq(D(x[i]), k[i] * (x[(i + 1) % 4] - x[i]) - k[4 + i] * x[i] ** 2) for i in range(4)]
        model = sd.compile(sd.System(ring, name="ring"))
        self.first = eqx.nn.Linear(64, 8, key=one)
        self.ode = ODELayer(model, inputs=k, outputs=x, t1=1.0, solver=dfx.Tsit5(), max_steps=64)
        self.last = eqx.nn.Linear(4, 10, key=two)

    def __call__(self, image):
        return self.last(self.ode(jax.nn.relu(self.first(image.ravel()))))


class Convolutional(eqx.Module):
    """Row 7: convolutions, then an equation that starts at the features."""

    convolutions: tuple
    pool: eqx.nn.MaxPool2d
    ode: ODELayer
    last: eqx.nn.Linear

    def __init__(self, key):
        one, two, three = jax.random.split(key, 3)
        x = [sd.state(f"x{i}", 0.0) for i in range(8)]
        k = sd.parameter("k", 0.5)
        chain = [Eq(D(x[i]), k * (x[i - 1] - x[i])) for i in range(8)]
        model = sd.compile(sd.System(chain, name="chain"))
        self.convolutions = eqx.nn.Conv2d(1, 16, 2, key=one), eqx.nn.Conv2d(16, 8, 2, key=two)
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.ode = ODELayer(model, inputs=x, outputs=x, t1=1.0, solver=dfx.Tsit5(), max_steps=64)
        self.last = eqx.nn.Linear(8, 10, key=three)

    def __call__(self, image):
        z = image[None]
        for convolution in self.convolutions:
            z = self.pool(jax.nn.relu(convolution(z)))
        return self.last(self.ode(z.ravel()))


@pytest.mark.parametrize("network", [Perceptron, Convolutional])
def test_rows_6_and_7_inside_networks_on_digits(digits, network):
    images, labels = digits
    traced = 0

    def loss(net, batch):
        nonlocal traced
        traced += 1
        images, labels = batch
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(jax.vmap(net)(images), labels))

    def batches():
        for first in range(0, 24 * 8, 8):
            yield images[first : first + 8], labels[first : first + 8]

    net = network(jax.random.key(0))
    assert jax.vmap(net)(images[:8]).shape == (8, 10)
    training = train(net, loss, batches=batches(), steps=8, optimiser=optax.adam(1e-2), progress=False)
    assert traced == 1
    assert training.losses.shape == (8,)
    moved = jax.tree.map(
        lambda a, b: float(jnp.max(jnp.abs(a - b))),
        *(eqx.filter(m, eqx.is_inexact_array) for m in (training.module, net)),
    )
    assert (
        min(jax.tree.leaves(eqx.tree_at(lambda m: (m.ode.model.values, m.ode.model.start), moved, replace=(1.0, 1.0))))
        > 0
    )
    before, after = (loss(m, (images[:64], labels[:64])) for m in (net, training.module))
    assert float(after) < float(before)

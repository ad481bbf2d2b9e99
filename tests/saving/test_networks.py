"""Networks: their arrays come back bit by bit, common ones by themselves, others by a function that builds them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symdeq as sd
from symdeq import D, Eq
from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import Neural
from symdeq.saving import load, recipes, save
from tests.saving.support import changed


class Sine(eqx.Module):
    """A network that no file can say how to build."""

    weight: jax.Array
    bias: jax.Array
    power: int

    def __init__(self, width: int, power: int = 1, dtype: Any = float, scale: float = 0.0):
        self.weight = jnp.linspace(0.1, 0.9, 2 * width).reshape(2, width).astype(dtype) * scale
        self.bias = (jnp.arange(1.0, 3.0) * scale).astype(dtype)
        self.power = power

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.sin(self.weight @ x + self.bias) ** self.power


def _model(module: Any, name: str = "net") -> sd.Model:
    x, y = sd.states(x=1.0, y=0.5)
    k = sd.parameter("k", 2.0)
    net = Neural(name, module)
    return sd.compile(sd.System([Eq(D(x), -k * x + net(x, y)[0]), Eq(D(y), net(x, y)[1])]))


def _mlp(seed: int = 0, **options: Any) -> eqx.nn.MLP:
    return eqx.nn.MLP(2, 2, 8, 2, key=jax.random.key(seed), **options)


def _equal(one: Any, other: Any) -> bool:
    return bool(eqx.tree_equal(one, other, typematch=True))


@pytest.mark.parametrize(
    "module",
    [
        _mlp(activation=jax.nn.tanh),
        _mlp(activation=jax.nn.softplus, final_activation=jnp.sin, use_final_bias=False),
        _mlp(scan=True),
        eqx.nn.MLP(2, 2, 8, 0, key=jax.random.key(0)),
        eqx.nn.Linear(2, 2, key=jax.random.key(0)),
        eqx.nn.Linear(2, 2, use_bias=False, dtype=jnp.float32, key=jax.random.key(0)),
    ],
    ids=["tanh", "softplus", "scan", "flat", "linear", "single"],
)
def test_common_networks(module: Any, tmp_path: Path) -> None:
    model = _model(module)
    save(model, tmp_path / "model.symdeq")
    read = load(tmp_path / "model.symdeq")
    assert _equal(read.networks, model.networks)
    assert read.source == model.source
    np.testing.assert_array_equal(read.rhs(0.0, read.initial_state()), model.rhs(0.0, model.initial_state()))
    save(read, tmp_path / "again.symdeq")
    assert (tmp_path / "again.symdeq").read_bytes() == (tmp_path / "model.symdeq").read_bytes()


@pytest.mark.parametrize("name", recipes.ACTIVATIONS)
def test_every_activation_is_found_again(name: str) -> None:
    made = recipes.recipe(_mlp(activation=recipes.ACTIVATIONS[name]))
    assert made is not None
    assert recipes.build(made).activation is recipes.ACTIVATIONS[name]


def test_new_weights_in_an_equal_file(tmp_path: Path) -> None:
    """SymPy remembers expressions, and with them the networks in them."""
    model = _model(_mlp(0))
    for seed in (1, 2):
        save(model.replace({"net": _mlp(seed)}), tmp_path / "model.symdeq")
        assert _equal(load(tmp_path / "model.symdeq")["net"], _mlp(seed))


@pytest.mark.parametrize(
    "given",
    [lambda: Sine(2), Sine(2), Sine(2, scale=7.0), lambda: eqx.filter_eval_shape(Sine, 2)],
    ids=["function", "module", "other values", "shapes"],
)
def test_other_networks_are_built_by_a_function(given: Any, tmp_path: Path) -> None:
    model = _model(Sine(2, scale=1.0))
    save(model, tmp_path / "model.symdeq")
    read = load(tmp_path / "model.symdeq", networks={"net": given})
    assert _equal(read.networks, model.networks)


def test_a_given_function_comes_before_what_the_file_says(tmp_path: Path) -> None:
    model = _model(_mlp(0, activation=jax.nn.tanh))
    save(model, tmp_path / "model.symdeq")
    read = load(tmp_path / "model.symdeq", networks={"net": lambda: _mlp(5, activation=jnp.sin)})
    assert read["net"].activation is jnp.sin
    assert _equal(read["net"].layers, model["net"].layers)


@pytest.mark.parametrize(
    "module",
    [_mlp(activation=lambda x: x**2), eqx.tree_at(lambda m: m.layers[1], _mlp(), eqx.nn.Identity()), Sine(2)],
    ids=["lambda", "exchanged", "own"],
)
def test_a_missing_function_is_named(module: Any, tmp_path: Path) -> None:
    save(_model(module, "rest"), tmp_path / "model.symdeq")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "model.symdeq")
    kind = type(module).__name__
    assert f"of the network `rest`, a {kind}" in str(caught.value)
    line = f'sd.load("{tmp_path / "model.symdeq"}", networks={{"rest": lambda: {kind}(...)}})'
    assert line in str(caught.value)


def _nothing() -> None:
    raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: Sine(3), r"`\.weight` of the network `net` has the shape \(2, 3\), and \(2, 2\) in the file"),
        (lambda: Sine(2, dtype=jnp.float32), r"`\.weight` of .* is of the type float32, and float64 in the file"),
        (lambda: eqx.nn.Linear(2, 2, use_bias=False, key=jax.random.key(0)), r"has 1 arrays, and 2 .* is `\.bias`"),
        (lambda: _mlp(), r"an array at `\.layers\[0\]\.weight` where the saved one has one at `\.weight`"),
        (_nothing, "builds the network `net` failed: RuntimeError: no such thing"),
        ("net", "cannot be built by 'net'"),
        (lambda: None, "has 0 arrays, and 2"),
    ],
)
def test_other_structures_are_named(given: Any, message: str, tmp_path: Path) -> None:
    save(_model(Sine(2)), tmp_path / "model.symdeq")
    with pytest.raises(ModelError, match=message):
        load(tmp_path / "model.symdeq", networks={"net": given})


def test_a_network_that_the_file_does_not_have(tmp_path: Path) -> None:
    save(_model(_mlp()), tmp_path / "model.symdeq")
    with pytest.raises(ModelError, match=r"no network `nut`.*\n.*\n.*`net`"):
        load(tmp_path / "model.symdeq", networks={"nut": _mlp})


def test_networks_of_subsystems(tmp_path: Path) -> None:
    def part(name: str) -> sd.System:
        u, net = sd.state("u", 0.3), Neural("net", Sine(1, scale=0.5))
        return sd.System([Eq(D(u), net(u)[0])], name=name)

    one, two = part("one"), part("two")
    x, net = sd.state("x", 1.0), Neural("net", _mlp())
    model = sd.compile(sd.System([Eq(D(x), net(x, one.u)[1] + two.u)], subsystems=[one, two]))
    model = model.replace({"two.net": Sine(1, scale=0.25)})
    save(model, tmp_path / "model.symdeq")
    builders: dict[str, Callable[[], Any]] = {"one.net": lambda: Sine(1), "two.net": lambda: Sine(1)}
    read = load(tmp_path / "model.symdeq", networks=builders)
    assert _equal(read.networks, model.networks)
    assert read.source == model.source
    np.testing.assert_array_equal(read.rhs(0.0, read.initial_state()), model.rhs(0.0, model.initial_state()))


def test_functions_without_arrays(tmp_path: Path) -> None:
    model = _model(jnp.sin)
    save(model, tmp_path / "model.symdeq")
    assert load(tmp_path / "model.symdeq", networks={"net": lambda: jnp.sin})["net"] is jnp.sin


class Mixed(eqx.Module):
    """Arrays of every kind."""

    arrays: tuple[jax.Array, ...]

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


@pytest.mark.parametrize(
    "array",
    [
        *(
            jnp.array(2.5),
            jnp.zeros((0, 3)),
            jnp.array([True, False]),
            jnp.array([1 + 2j]),
            jnp.arange(6).reshape(2, 3).T,
        ),
        *(jnp.array([1.5, -0.1], jnp.bfloat16), jnp.array([0.1], jnp.float16), jnp.array([2**64 - 1], jnp.uint64)),
        jnp.array([np.nan, np.inf, -0.0]),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_types_of_arrays(array: jax.Array, tmp_path: Path) -> None:
    model = _model(Mixed((array,)))
    save(model, tmp_path / "model.symdeq")
    [read] = load(tmp_path / "model.symdeq", networks={"net": model["net"]})["net"].arrays
    assert (read.dtype, read.shape, np.asarray(read).tobytes()) == (
        array.dtype,
        array.shape,
        np.asarray(array).tobytes(),
    )


def test_arrays_that_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"`\.arrays\[0\]` of the network `net` is an array of the type key"):
        save(_model(Mixed((jax.random.key(0),))), tmp_path / "model.symdeq")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class", "os.system"),
        ("class", None),
        ("in_size", "vector"),
        ("in_size", -1),
        ("width_size", 10**12),
        ("width_size", "scalar"),
        ("depth", 10**9),
        ("depth", True),
        ("activation", "os.system"),
        ("activation", "jax.nn.dot_product_attention"),
        ("use_bias", 1),
        ("use_bias", False),
        ("width_size", 9),
    ],
)
def test_recipes_that_cannot_be(name: str, value: Any, tmp_path: Path) -> None:
    save(_model(_mlp()), tmp_path / "model.symdeq")

    def other(description: dict, members: dict) -> None:
        description["models"][0]["networks"][0]["recipe"][name] = value

    with pytest.raises(ModelError, match="remedy"):
        load(changed(tmp_path / "model.symdeq", other))

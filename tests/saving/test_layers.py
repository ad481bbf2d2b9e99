"""Other things than models: a class says what it consists of, and how it is put together again."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import Network, Neural
from symdeq.saving import Described, describe, load, register, save
from tests import models
from tests.saving.support import changed


@dataclass(frozen=True)
class Layer:
    models: tuple[sd.Model, ...]
    modules: dict[str, Any]
    settings: dict[str, Any]


@describe.register
def _(thing: Layer) -> Described:
    return Described(kind="layer of a test", data=thing.settings, models=thing.models, modules=thing.modules)


register("layer of a test", lambda d: Layer(models=d.models, modules=dict(d.modules), settings=dict(d.data)))


def _read(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    save(Layer((models.growth(),), {}, settings), path)
    return load(path).settings


def test_models_and_networks(tmp_path: Path) -> None:
    modules = {"encoder": eqx.nn.Linear(3, 2, key=jax.random.key(0)), "bias": [jnp.arange(3.0), {"a": jnp.ones(2)}]}
    layer = Layer((models.growth(), models.lotka_volterra().replace(a=0.5)), modules, {})
    save(layer, tmp_path / "layer.symdeq")
    read = load(tmp_path / "layer.symdeq", networks={"bias": lambda: [jnp.zeros(3), {"a": jnp.zeros(2)}]})
    assert eqx.tree_equal(read.modules, modules, typematch=True)
    assert [m.source for m in read.models] == [m.source for m in layer.models]
    assert float(read.models[1]["a"]) == 0.5
    with pytest.raises(ModelError, match="network `bias`, a list"):
        load(tmp_path / "layer.symdeq")


def test_settings(tmp_path: Path) -> None:
    r, alpha = models.growth().states[0], models.growth().parameters[0]
    settings = {
        "nothing": None,
        "numbers": [1, 2.5, True, math.inf, -0.0, 10**30],
        "text": 'a "β"\n',
        "nested": ((), (1, [2, (3.0,)]), {"key": {"inner": (None,)}}),
        "inputs": (r, alpha, sd.D(r)),
        "outputs": (alpha * r**2, sp.Piecewise((r, r > sp.Float("0.1", 30)), (0, True))),
        "guess": sd.guess(alpha / 2),
        "object": {"number": "inf"},
    }
    assert _read(settings, tmp_path / "layer.symdeq") == settings


def test_arrays_among_settings(tmp_path: Path) -> None:
    ts, dy = jnp.linspace(0.0, 1.0, 5), np.array([[1, 2], [3, 4]], ">i2")
    read = _read({"ts": ts, "dy": dy, "one": np.float32(0.1), "many": [ts, (dy,)]}, tmp_path / "layer.symdeq")
    np.testing.assert_array_equal(read["ts"], ts)
    np.testing.assert_array_equal(read["many"][1][0], dy)
    assert isinstance(read["ts"], np.ndarray)
    assert (read["ts"].dtype, read["dy"].dtype, read["one"].dtype) == (np.float64, np.int16, np.float32)


def test_outputs_of_networks_among_settings(tmp_path: Path) -> None:
    r = models.growth().states[0]
    net = Neural("net", eqx.nn.MLP(1, 2, 4, 1, key=jax.random.key(0)))
    [output] = _read({"outputs": [net(r)[1] * r]}, tmp_path / "layer.symdeq")["outputs"]
    assert str(output) == str(net(r)[1] * r)
    assert output.atoms(Network) == {Network("net", 2)}


@pytest.mark.parametrize("value", [object(), 1j, {1: 2}, lambda x: x, {"f": print}, np.array(["a"]), sp.Symbol("q")])
def test_settings_that_cannot_be_saved(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="cannot be saved"):
        _read({"value": value}, tmp_path / "layer.symdeq")
    assert not list(tmp_path.iterdir())


def test_a_kind_that_nobody_registered(tmp_path: Path) -> None:
    save(models.growth(), tmp_path / "model.symdeq")

    def other(description: dict, members: dict) -> None:
        description["kind"] = "os.system"

    with pytest.raises(ModelError, match=r"holds a 'os\.system', which nothing here can rebuild"):
        load(changed(tmp_path / "model.symdeq", other))

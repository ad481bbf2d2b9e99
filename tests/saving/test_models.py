"""Models come back with the same code and the same values to the last bit, here and in a fresh process."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symdeq as sd
from symdeq import D, Eq
from symdeq._errors import ModelError, SymdeqWarning, UnsupportedError
from symdeq.saving import load, save
from tests import models
from tests.saving.support import changed

MODELS = {
    "lotka_volterra": models.lotka_volterra,
    "rober": models.rober,
    "oscillator": models.oscillator,
    "algebraic": models.algebraic,
    "driven": models.driven,
}


def _bits(array: jax.Array | np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), array.shape, np.asarray(array).tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_model(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    save(model, tmp_path / "model.symdeq")
    read = load(tmp_path / "model.symdeq")
    assert read.source == model.source
    assert str(read.compiled.declared) == str(model.compiled.declared)
    assert (read.states, read.parameters, read.given) == (model.states, model.parameters, model.given)
    assert _bits(read.values) == _bits(model.values)
    assert _bits(read.start) == _bits(model.start)
    np.testing.assert_array_equal(
        read.rhs(0.3, read.initial_state()), model.rhs(0.3, model.initial_state()), strict=True
    )


def test_replaced_values(tmp_path: Path) -> None:
    x, h = sd.state("x", 1.0), sd.state("h", [1.0, 2.0], shape=(2,))
    y = sd.state("y")
    a = sd.parameter("a")
    system = sd.System([Eq(D(x), -a * x), Eq(D(h), -h * x), Eq(D(y), -y)])
    model = sd.compile(system).replace({a: 1 / 3, x: jnp.nextafter(1.0, 2.0), "h": [0.1, -0.0]})
    save(model, tmp_path / "model.symdeq")
    read = load(str(tmp_path / "model.symdeq"))
    assert read.given == (True, True, False)
    assert float(read["a"]).hex() == (1 / 3).hex()
    assert float(read["x"]).hex() == "0x1.0000000000001p+0"
    assert np.signbit(read["h"]).tolist() == [False, True]
    save(sd.compile(system), tmp_path / "missing.symdeq")
    assert np.isnan(load(tmp_path / "missing.symdeq")["a"])


def test_models_that_were_not_simplified(tmp_path: Path) -> None:
    x, y = sd.states(x=1.0, y=2.0)
    a, b, c = sd.parameters(a=1.0, b=2.0, c=3.0)
    system = sd.System([Eq(D(x), a * x + b * x + c * x), Eq(D(y), a * y + b * y * x)])
    plain, simplified = sd.compile(system, simplify=False), sd.compile(system)
    assert plain.source != simplified.source
    for model in (plain, simplified):
        save(model, tmp_path / "model.symdeq")
        assert load(tmp_path / "model.symdeq").source == model.source


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    model = models.rober()
    save(model, tmp_path / "one")
    save(model, tmp_path / "two")
    save(load(tmp_path / "one"), tmp_path / "three")
    contents = [(tmp_path / name).read_bytes() for name in ("one", "two", "three")]
    assert contents[0] == contents[1] == contents[2]


def test_single_precision_is_kept(tmp_path: Path) -> None:
    system = models.growth().compiled.declared
    with jax.enable_x64(False):
        model = sd.compile(system)
        save(model, tmp_path / "single.symdeq")
        assert _bits(load(tmp_path / "single.symdeq").values) == _bits(model.values)
    read = load(tmp_path / "single.symdeq")
    assert _bits(read.values) == _bits(model.values)
    assert read.start.dtype == jnp.float32


def test_double_precision_is_not_lost_silently(tmp_path: Path) -> None:
    save(models.growth(), tmp_path / "double.symdeq")
    with jax.enable_x64(False), pytest.raises(ModelError, match=r'jax\.config\.update\("jax_enable_x64", True\)'):
        load(tmp_path / "double.symdeq")


_FRESH = """
import sys
import numpy as np
import symdeq as sd
from symdeq.saving import load

for path, t1 in zip(sys.argv[1::2], map(float, sys.argv[2::2])):
    sol = sd.solve(load(path), t1=t1, saveat=np.linspace(0.0, t1, 21)[1:])
    np.save(path + ".npy", np.asarray(sol.ys))
"""


def test_a_fresh_process_solves_them_equally(tmp_path: Path) -> None:
    solved = [(tmp_path / "lotka_volterra", models.lotka_volterra(), 10.0), (tmp_path / "rober", models.rober(), 1e4)]
    arguments: list[str] = []
    for path, model, t1 in solved:
        save(model, path)
        arguments += [str(path), str(t1)]
    program = tmp_path / "fresh.py"
    program.write_text(_FRESH)
    environment = {**os.environ, "PYTHONPATH": str(Path(sd.__file__).parents[1])}
    subprocess.run([sys.executable, str(program), *arguments], check=True, env=environment)
    for path, model, t1 in solved:
        ys = sd.solve(model, t1=t1, saveat=np.linspace(0.0, t1, 21)[1:]).ys
        assert np.isfinite(np.asarray(ys)).all()
        assert _bits(np.load(f"{path}.npy")) == _bits(ys)


def test_files_of_the_first_version_are_read() -> None:
    """A file that was written when the format was new, and its values as they were then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SymdeqWarning)  # generated code may be another one by now
        read = load(Path(__file__).with_name("version_1.symdeq"))
    assert str(read.compiled.declared).splitlines()[0] == "System `first` (declared)"
    assert {p.name: float(read[p]) for p in read.parameters} == {"k": 1 / 3, "part.c": 2.5, "part.d": -0.1}
    assert [s.name for s in read.states] == ["x", "part.u", "part.u_t"]
    assert float(read["part.u"]) == 0.7
    assert float(read.rhs(0.5, read.initial_state())[0]) == pytest.approx(-0.3333333333333333 * 1.5 + np.sin(0.5) * 0.7)


def test_other_code_is_warned_of(tmp_path: Path) -> None:
    save(models.lotka_volterra().replace(a=1.25), tmp_path / "model.symdeq")

    def older(description: dict, members: dict) -> None:
        description["models"][0]["source"] = hashlib.sha256(b"other").hexdigest()

    with pytest.warns(SymdeqWarning, match="last digits") as record:
        read = load(changed(tmp_path / "model.symdeq", older))
    assert record[0].filename == __file__
    assert float(read["a"]) == 1.25


def test_values_find_their_symbols(tmp_path: Path) -> None:
    """As in a file of a version of symdeq that put them in another order, or kept others."""
    save(models.lotka_volterra().replace(a=1.25, y=0.5), tmp_path / "model.symdeq")

    def reordered(description: dict, members: dict) -> None:
        model = description["models"][0]
        model["parameters"] = ["q", "b", "c", "d"]
        model["states"] = [["y", 1], ["x", 1]]
        model["given"] = [True, False]

    with pytest.warns(SymdeqWarning, match="keeps no values of `q`"):
        read = load(changed(tmp_path / "model.symdeq", reordered))
    assert (float(read["a"]), float(read["b"]), float(read["y"])) == (1.5, 1.0, 1.0)
    assert read.given == (False, True)
    assert float(read.start[0]) == 0.5


def test_traced_values_are_refused(tmp_path: Path) -> None:
    model = models.growth()

    @jax.jit
    def saving(value):
        save(model.replace(alpha=value), tmp_path / "model.symdeq")
        return value

    with pytest.raises(ModelError, match=r"inside jax\.jit"):
        saving(1.0)
    with pytest.raises(ModelError, match="not that of one model"):
        save(dataclasses.replace(model, values=jnp.ones((3, 1))), tmp_path / "model.symdeq")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="A dict cannot be saved"):
        save({}, tmp_path / "x")
    with pytest.raises(UnsupportedError, match=r"jnp\.savez"):
        save(sd.solve(models.growth(), t1=1.0), tmp_path / "x")


def test_the_description_is_plain_json(tmp_path: Path) -> None:
    save(models.lotka_volterra(), tmp_path / "model.symdeq")
    with zipfile.ZipFile(tmp_path / "model.symdeq") as archive:
        description = json.loads(archive.read("symdeq.json"))
        assert set(archive.namelist()) == {"symdeq.json", *description["arrays"]}
    assert (description["format"], description["version"], description["kind"]) == ("symdeq", 1, "model")
    assert description["symdeq"] == sd.__version__
    assert str(Path(__file__).parents[1]) not in json.dumps(description)

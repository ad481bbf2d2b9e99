"""Files that are none, or damaged, or changed by hand: each gives an error that names the file, and nothing else."""

import copy
import io
import json
import os
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from symdeq._errors import ModelError, SymdeqWarning
from symdeq.model import Neural
from symdeq.saving import load, save
from tests import models
from tests.saving.support import changed, packed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(models.lotka_volterra(), tmp_path / "model.symdeq")
    return tmp_path / "model.symdeq"


def _refused(path: Path, message: str = ".") -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "remedy" in str(caught.value)


def _loaded(path: Path) -> tuple[Any, ModelError | None]:
    try:
        return load(path), None
    except ModelError as error:
        return None, error


def _is_refused_or_equal(path: Path, wanted: sd.Model) -> bool:
    """Whether a file is refused; one that is read must give the same model."""
    read, error = _loaded(path)
    if error is not None:
        return bool(error.remedy) and str(path) in str(error)
    assert read.source == wanted.source
    np.testing.assert_array_equal(read.values, wanted.values)
    return False


def test_cut_off(path: Path) -> None:
    content = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(content[: len(content) * tenth // 10])
        _refused(path)
    path.write_bytes(content[:-1])
    _refused(path, "only a part")


def test_flipped_bits(path: Path) -> None:
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    refused = 0
    places = [*range(0, directory, 11), *range(directory, len(content))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        refused += _is_refused_or_equal(path, models.lotka_volterra())
    # What is left are times, permissions and versions of the members, which mean nothing here.
    assert refused > 0.6 * len(places)


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content in (b"", b"x", b"{}", b"PK\x05\x06" + bytes(18), bytes(1000), os.urandom(5000)):
        (tmp_path / "file").write_bytes(content)
        _refused(tmp_path / "file", "This is no file of sd.save")


def test_foreign_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    _refused(tmp_path / "file", "without a description")
    np.savez(tmp_path / "file.npz", a=np.ones(3))
    _refused(tmp_path / "file.npz", "without a description")
    _refused(packed(tmp_path / "file", {"symdeq.json": b'{"format": "other"}'}), "another format")


def test_paths(tmp_path: Path) -> None:
    _refused(tmp_path / "nothing", "There is no such file")
    _refused(tmp_path, "This is no file")
    with pytest.raises(ModelError, match=r"cannot be written: No such file or directory\.\n.*nowhere/file"):
        save(models.growth(), tmp_path / "nowhere" / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError, match="cannot be written: Is a directory"):
        save(models.growth(), tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_file_is_replaced_as_a_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ModelError, match="No space left on device"):
            save(models.growth(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    save(models.growth(), path)
    assert load(path).system.name == "growth"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff{}", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"1" * 5000]
)
def test_descriptions_that_are_no_objects(content: bytes, tmp_path: Path) -> None:
    _refused(packed(tmp_path / "file", {"symdeq.json": content}), "damaged")


def _at(*keys: Any, value: Any) -> Callable[[dict, dict], None]:
    def change(description: Any, members: dict) -> None:
        for key in keys[:-1]:
            description = description[key]
        if value is KeyError:
            del description[keys[-1]]
        else:
            description[keys[-1]] = value

    return change


MODEL = ("models", 0)
SYSTEM = (*MODEL, "system")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_at("version", value=2), r"format, and this symdeq reads version 1\.\n(.*\n)*.*pip install --upgrade symdeq"),
        (_at("version", value=0), "in version 0 of the format"),
        (_at("version", value="1"), "should be a whole number, and is '1'"),
        (_at("version", value=True), "should be a whole number"),
        (_at("symdeq", value=KeyError), "has no `symdeq`"),
        (_at("kind", value=None), "should be text"),
        (_at("models", value={}), "should be a list"),
        (_at("models", value=[]), "not what its kind consists of"),
        (_at("models", 0, value=7), "should be an object"),
        (_at("symbols", value=None), "should be a list"),
        (_at("symbols", 0, "kind", value="Thing"), "unknown kind 'Thing'"),
        (_at("order", value=[0, 0]), "order of declaration"),
        (_at("order", value=[99]), "is number 99 of 8"),
        (_at("arrays", "arrays/0.npy", "dtype", value="float32"), "not of the type float32"),
        (_at("arrays", "arrays/0.npy", "dtype", value="object"), "has the type 'object'"),
        (_at("arrays", "arrays/0.npy", "shape", value=[10**15]), r"not of the type float64 and the shape \(10+,\)"),
        (_at("arrays", "arrays/0.npy", "shape", value=[-4]), r"the shape \(-4,\)"),
        (_at("arrays", "arrays/9.npy", value={"dtype": "float64", "shape": [1]}), "'arrays/9.npy' is missing"),
        (_at(*MODEL, "values", value="../../etc/passwd"), "no `../../etc/passwd`"),
        (_at(*MODEL, "values", value="arrays/1.npy"), "number of values"),
        (_at(*MODEL, "given", value=[True]), "number of values"),
        (_at(*MODEL, "given", value=[1, 1]), "true or false"),
        (_at(*MODEL, "states", value=[["x"]]), "two parts"),
        (_at(*MODEL, "states", value=[["x", 1], ["y", 0]]), "no size"),
        (_at(*MODEL, "networks", value=None), "should be a list"),
        (_at(*SYSTEM, "equations", value=[]), "has no equations"),
        (_at(*SYSTEM, "equations", 0, value=[1]), "not three parts"),
        (_at(*SYSTEM, "equations", 0, 1, value=["exec", "import os"]), "operation 'exec', which is not known"),
        (_at(*SYSTEM, "equations", 0, 1, value=["Pow", 9, ["Pow", 9, ["Pow", 9, 9]]]), "too large to be computed"),
        (_at(*SYSTEM, "equations", 0, 2, 0, value=["a.py", 1, "x\nimport os"]), "not text"),
        (_at(*SYSTEM, "equations", 0, 2, 0, value=["a.py", "1", "x"]), "whole number"),
        (_at(*SYSTEM, "name", value="a b"), "cannot be the name of a system"),
        (_at(*SYSTEM, "name", value='"""\nimport os'), "not text"),
        (_at(*SYSTEM, "states", value=[0]), "other symbols than it lists"),
        (_at(*SYSTEM, "states", value=[0, 2]), "stands where"),
        (_at(*SYSTEM, "initial", value=[[2, {"expression": 1}]]), "stands where"),
        (_at(*SYSTEM, "initial", value=[[0, "a"]]), "the initial value of `x` is none"),
        (_at(*SYSTEM, "time_unit", value="parsecs of time"), "is not a unit"),
        (_at(*SYSTEM, "subsystems", value=[3]), "should be an object"),
        (_at("data", value={"call": 1}), "unknown kind 'call'"),
        (_at("data", value={"array": "arrays/0.npy"}), "should be an object"),
    ],
)
def test_changed_descriptions(change: Callable, message: str, path: Path) -> None:
    _refused(changed(path, change), message)


def _member(name: str, content: Callable[[bytes], bytes]) -> Callable[[dict, dict], None]:
    return lambda description, members: members.update({name: content(members.get(name, b""))})


def _npy(array: np.ndarray, **options: Any) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda description, members: members.pop("arrays/0.npy"), "'arrays/0.npy' is missing"),
        (_member("setup.py", lambda old: b"import os"), "contains 'setup.py', which does not belong there"),
        (_member("arrays/0.npy", lambda old: b""), "no array in NumPy's format"),
        (_member("arrays/0.npy", lambda old: old[:-1]), "31 bytes, which does not fit"),
        (_member("arrays/0.npy", lambda old: old + b"0"), "33 bytes, which does not fit"),
        (_member("arrays/0.npy", lambda old: old.replace(b"(4,)", b"(9,)")), "not of the type float64 and the shape"),
        (_member("arrays/0.npy", lambda old: _npy(np.ones(4, np.float32))), "not of the type float64"),
        (_member("arrays/0.npy", lambda old: _npy(np.ones(4, ">f8"))), "not of the type float64"),
        (_member("arrays/0.npy", lambda old: _npy(np.array([{}] * 4), allow_pickle=True)), "not of the type float64"),
        (_member("arrays/0.npy", lambda old: _npy(np.ones(4), version=(2, 0))), "no array in NumPy's format"),
        (
            _member("arrays/0.npy", lambda old: b"\x93NUMPY\x01\x00\x04\x00os()" + bytes(32)),
            "no array in NumPy's format",
        ),
    ],
)
def test_changed_members(change: Callable, message: str, path: Path) -> None:
    _refused(changed(path, change), message)


def test_compressed_members_are_refused(path: Path, tmp_path: Path) -> None:
    """Nothing in a file can be larger than the file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    bomb = packed(tmp_path / "bomb", {**members, "arrays/0.npy": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    _refused(bomb, "is compressed")


def test_members_of_one_name(path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("arrays/0.npy", b"")
    _refused(path, "two members have one name")


def test_deeply_nested_systems(path: Path) -> None:
    def nest(description: dict, members: dict) -> None:
        inner = description["models"][0]["system"]
        for _ in range(400):
            inner = {**inner, "name": "part", "subsystems": [inner], "equations": [], "states": [], "params": []}
        description["models"][0]["system"] = inner

    _refused(changed(path, nest), "nested too deeply")


def test_expressions_too_deep_for_the_compiler(tmp_path: Path) -> None:
    x = sd.state("x", 1.0)
    save(sd.compile(sd.System([Eq(D(x), sp.sin(x))])), tmp_path / "model.symdeq")

    def nest(description: dict, members: dict) -> None:
        equation = description["models"][0]["system"]["equations"][0]
        for _ in range(295):
            equation[1] = ["exp", equation[1]]

    _refused(changed(tmp_path / "model.symdeq", nest), "nested too deeply")


VALUES = (None, True, 0, 1, -1, 10**30, 0.5, "", "x", "State", [], {}, [0], ["Add", 1, 2], ["symbol", 0], {"tuple": []})


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every place of a description: what it is in, and its key there."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    return [place for key in keys for place in [(data, key), *_places(data[key])]]


def _constrained() -> sd.System:
    x, z, w = sd.states(x=1.0, z=sd.guess(0.5), w=0.25)
    k = sd.parameter("k", 2.0, bounds=(0.1, 3.0), scale="log", unit="1/s", description="rate")
    part = sd.System([Eq(D(w, 2), -k * w)], name="part", initial={D(w): k / 3})
    return sd.System(
        [Eq(D(x), -k * x + part.w), Eq(z**3 + z, sp.Piecewise((x, x > 0), (0, True)))],
        subsystems=[part],
        observed={"total": x + z},
        time_unit="s",
    )


def _vectors() -> sd.System:
    x, h = sd.state("x", 1.0), sd.state("h", 0.5, shape=(2,))
    net = Neural("net", eqx.nn.MLP(3, 2, 4, 1, activation=jax.nn.tanh, key=jax.random.key(0)))
    return sd.System([Eq(D(x), -h[0] * x), Eq(D(h), net(h, x) - h)])


@pytest.mark.parametrize("build", [_constrained, _vectors])
@pytest.mark.parametrize("seed", range(3))
def test_random_changes(build: Callable[[], sd.System], seed: int, tmp_path: Path) -> None:
    """Whatever stands in a description, it is refused or read, and no other error comes out."""
    chosen = random.Random(seed)
    save(sd.compile(build()), tmp_path / "model.symdeq")
    with zipfile.ZipFile(tmp_path / "model.symdeq") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    original = json.loads(members["symdeq.json"])
    refused = 0
    for _ in range(60):
        description = copy.deepcopy(original)
        inside, key = chosen.choice(_places(description))
        if chosen.random() < 0.2:
            del inside[key]
        else:
            inside[key] = chosen.choice(VALUES)
        file = packed(tmp_path / "changed", {**members, "symdeq.json": json.dumps(description).encode()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SymdeqWarning)
            _, error = _loaded(file)
        if error is not None:
            assert str(file) in str(error)
            refused += 1
    assert refused > 30

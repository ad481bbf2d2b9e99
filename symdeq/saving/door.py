"""`save` and `load`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import sympy as sp

from symdeq._errors import ModelError
from symdeq._version import __version__
from symdeq.model import Network
from symdeq.saving import archive, expressions, models, modules, plain
from symdeq.saving.archive import Archive, ArrayWriter
from symdeq.saving.expressions import Tables
from symdeq.saving.fields import checked, damaged, field, line, listed
from symdeq.saving.kinds import Described, describe, rebuilt
from symdeq.saving.modules import Builders
from symdeq.saving.symbols import SymbolWriter, read_symbols
from symdeq.saving.systems import NetworkTable

FORMAT, VERSION = "symdeq", 1
_WIDE = ("float64", "int64", "uint64", "complex128")


def save(thing: Any, path: str | os.PathLike[str]) -> None:
    """Write a compiled model, or a layer, to a file: what it is as data, and all its numbers to the last bit.

    Arguments:

    - `thing`: a `Model`, or a layer.
    - `path`: where to; written exactly there, whole or not at all, over what is there.

    The file is a zip archive of a description in JSON and of arrays in NumPy's format. It holds no code. Of a network
    it holds the arrays; what else it consists of is known for `eqx.nn.MLP` and `eqx.nn.Linear` with functions of
    `jax.nn`, and for others must be built by a function that is given to `load`. Equal things give equal bytes.

    Raises `UnsupportedError` for what cannot be saved, and `ModelError` for a path where nothing can be written.
    """
    target = Path(path)
    with _named(target):
        symbols, arrays, called = SymbolWriter(), ArrayWriter(), NetworkTable(names=[], outputs=[])
        described = describe(thing)

        def expression(value: sp.Basic) -> Any:
            return expressions.to_data(value, symbols.position, lambda network: called.position(network, ""))

        description = {
            "format": FORMAT,
            "version": VERSION,
            "symdeq": __version__,
            "kind": described.kind,
            "models": [models.to_data(model, symbols, arrays) for model in described.models],
            "modules": [
                {"name": name, **modules.to_data(module, name, arrays)} for name, module in described.modules.items()
            ],
            "data": plain.to_data(
                dict(described.data),
                expression,
                lambda array: arrays.add(array, "a setting"),
                of=f"the {described.kind}",
            ),
            "networks": [list(pair) for pair in zip(called.names, called.outputs, strict=True)],
            "symbols": symbols.entries,
            "order": symbols.order,
        }
        archive.write(target, description, arrays)


def load(path: str | os.PathLike[str], *, networks: Mapping[str, Any] | None = None) -> Any:
    """Read a model, or a layer, that `save` wrote: compiled again, with the same values to the last bit.

    Arguments:

    - `path`: the file.
    - `networks`: by name, functions without arguments that build a network as it was, or such networks; their arrays
        are replaced by those in the file. Needed for networks that the file does not say how to build; default none.

    Returns what was saved.
    Raises `ModelError` for a file that is none of `save`, or damaged, or not for this version; for a network that is
    missing or has other arrays; and for values in double precision where that is off. Never runs code from a file.
    """
    source = Path(path)
    with _named(source), archive.opened(source) as opened:
        _check_version(opened.description)
        archive.check_members(opened)
        _check_precision(opened)
        return _read(opened, Builders(given=dict(networks or {}), shown=str(path)))


def _read(opened: Archive, builders: Builders) -> Any:
    description, of = opened.description, "the description"
    symbols = read_symbols(description.get("symbols"), description.get("order"))
    found = listed(field(description, "models", list, of), dict, "the models")
    beside = listed(field(description, "modules", list, of), dict, "the networks")
    names = [line(field(entry, "name", str, "a network"), "the name of a network") for entry in beside]
    builders.check_known({*names, *(name for model in found for name in models.network_names(model))})

    called = [_network(entry) for entry in field(description, "networks", list, of)]

    def expression(data: Any) -> sp.Basic:
        return expressions.from_data(data, Tables(symbols=symbols, networks=called))

    def array(name: Any) -> np.ndarray:
        return opened.array(name)

    data = plain.from_data(field(description, "data", dict, of), expression, array, of="the settings")
    return rebuilt(
        Described(
            kind=field(description, "kind", str, of),
            data=checked(data, dict, "the settings"),
            models=tuple(models.read_model(model, symbols, builders, opened) for model in found),
            modules={name: builders.module(name, entry, opened) for name, entry in zip(names, beside, strict=True)},
        )
    )


def _network(entry: Any) -> Network:
    """A network that a setting names, as a model holds it."""
    if len(checked(entry, list, "a network")) != 2:
        raise damaged("a network of the settings has not two parts")
    return Network(line(entry[0], "the name of a network"), checked(entry[1], int, "its number of outputs"))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors name the file."""
    try:
        yield
    except RecursionError:
        raise ModelError(
            "An expression is nested too deeply.",
            where=path,
            remedy="name parts of it by observed quantities, or raise the limit by sys.setrecursionlimit",
        ) from None
    except ModelError as error:
        where = str(path) if error.where is None else f"{path}\n{error.where}"
        raise type(error)(error.what, where=where, remedy=error.remedy) from error.__cause__


def _check_version(description: dict[str, Any]) -> None:
    if description.get("format") != FORMAT:
        raise ModelError(
            "This is no file of sd.save: its description is of another format.", remedy="give a file that sd.save wrote"
        )
    version, by = (
        field(description, "version", int, "the description"),
        field(description, "symdeq", str, "the description"),
    )
    if not 1 <= version <= VERSION:
        raise ModelError(
            f"The file was written by symdeq {by[:20]} in version {version} of the format, and this symdeq reads "
            f"version {VERSION}.",
            remedy="pip install --upgrade symdeq" if version > VERSION else "take an undamaged copy",
        )


def _check_precision(opened: Archive) -> None:
    """Double precision is the reader's choice, and JAX would drop half of the digits without a word."""
    wide = next((dtype for dtype in opened.dtypes() if dtype in _WIDE), None)
    if wide is not None and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise ModelError(
            f"The file holds numbers of the type {wide}, and double precision is off.",
            remedy='jax.config.update("jax_enable_x64", True) before anything is computed',
        )

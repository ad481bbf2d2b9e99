"""Compiled models in a file: the declared system, from which they are compiled again, and all values bit by bit."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from symdeq._errors import ModelError, SymdeqWarning
from symdeq._values import concrete
from symdeq.compiled import Model, compile
from symdeq.model import ModelSymbol, Network, Neural, System
from symdeq.saving import modules, systems
from symdeq.saving.archive import Archive, ArrayWriter
from symdeq.saving.expressions import Tables
from symdeq.saving.fields import checked, damaged, field, line, listed
from symdeq.saving.modules import Builders
from symdeq.saving.symbols import SymbolWriter
from symdeq.saving.systems import NetworkTable


def to_data(model: Model, symbols: SymbolWriter, arrays: ArrayWriter) -> dict[str, Any]:
    """A model as data; its symbols and arrays enter their tables.

    Raises `ModelError` inside `jax.jit` and the like, and for many models in one, as `jax.vmap` gives.
    """
    _check_values(model)
    networks = NetworkTable(names=[], outputs=[])
    system = systems.to_data(model.compiled.declared, symbols, networks)
    called = {network.name: module for network, module in zip(model.system.networks, model.networks, strict=True)}
    return {
        "system": system,
        "networks": [
            {"name": name, "outputs": outputs, **modules.to_data(called[name], name, arrays)}
            for name, outputs in zip(networks.names, networks.outputs, strict=True)
            if name in called
        ],
        "parameters": [p.name for p in model.parameters],
        "states": [[s.name, s.size] for s in model.states],
        "given": list(model.given),
        "values": arrays.add(model.values, "`model.values`"),
        "start": arrays.add(model.start, "`model.start`"),
        "source": _fingerprint(model),
    }


def _check_values(model: Model) -> None:
    if not concrete(model.values, model.start):
        raise ModelError(
            "The values of the model are not known inside jax.jit, jax.grad or jax.vmap.", remedy="save outside of them"
        )
    if model.values.shape != (len(model.parameters),) or model.start.shape != (model.size,):
        raise ModelError(
            f"The values have the shape {model.values.shape}, which is not that of one model.",
            remedy="save each model of a batch by itself",
        )


def _fingerprint(model: Model) -> str:
    return hashlib.sha256(model.source.encode()).hexdigest()


def network_names(data: Any) -> list[str]:
    """The names of the networks of a model in a file."""
    entries = listed(field(data, "networks", list, "a model"), dict, "the networks")
    return [line(field(entry, "name", str, "a network"), "the name of a network") for entry in entries]


def read_model(data: Any, symbols: tuple[ModelSymbol, ...], builders: Builders, archive: Archive) -> Model:
    """The model of `to_data`, compiled again.

    Raises `ModelError` for data that `to_data` does not give; warns where this version of symdeq generates other code
    than the one that saved the model.
    """
    of = "a model"
    networks: list[Network] = []
    for name, entry in zip(network_names(data), field(data, "networks", list, of), strict=True):
        outputs = field(entry, "outputs", int, f"the network `{name}`")
        # Declared anew: SymPy remembers expressions, and would bring back the arrays of an equal file read before.
        declared = Neural(name.rpartition(".")[2], builders.module(name, entry, archive), outputs=outputs)
        networks.append(declared.symbol)
    tables = Tables(symbols=symbols, networks=networks)
    system = systems.read_system(field(data, "system", dict, of), tables)
    fresh = _compiled(system, field(data, "source", str, of))
    parameters = listed(field(data, "parameters", list, of), str, "the parameters")
    given = listed(field(data, "given", list, of), bool, "`given`")
    states = [_state(entry) for entry in listed(field(data, "states", list, of), list, "the states")]
    values, start = (archive.array(field(data, name, str, of)) for name in ("values", "start"))
    if values.shape != (len(parameters),) or start.shape != (sum(n for _, n in states),) or len(given) != len(states):
        raise damaged("the number of values is not that of the symbols")
    if values.dtype.kind != "f" or start.dtype != values.dtype:
        raise damaged(f"the values are of the types {values.dtype} and {start.dtype}")
    if parameters == [p.name for p in fresh.parameters] and states == [(s.name, s.size) for s in fresh.states]:
        return dataclasses.replace(fresh, values=jnp.asarray(values), start=jnp.asarray(start), given=tuple(given))
    return _by_name(fresh, dict(zip(parameters, values, strict=True)), states, start, given)


def _by_name(
    fresh: Model, values: dict[str, Any], states: list[tuple[str, int]], start: np.ndarray, given: list[bool]
) -> Model:
    """The values put where this version of symdeq has the symbols that they belong to."""
    ends = np.cumsum([size for _, size in states])
    starts = {key: (start[end - key[1] : end], flag) for key, end, flag in zip(states, ends, given, strict=True)}
    known = {p.name for p in fresh.parameters} | {(s.name, s.size) for s in fresh.states}
    if lost := [key if isinstance(key, str) else key[0] for key in (*values, *states) if key not in known]:
        warnings.warn(
            SymdeqWarning(
                f"This version of symdeq keeps no values of `{'`, `'.join(lost)}` in `{fresh.system.name}`, which the "
                "file has values of.\n  remedy: see print(model), and give values of what it has by model.replace"
            ),
            stacklevel=6,
        )
    dtype = start.dtype
    declared = np.asarray(fresh.start, dtype)
    found = [
        starts.get((s.name, s.size), (np.ravel(declared[fresh.place(i)]), fresh.given[i]))
        for i, s in enumerate(fresh.states)
    ]
    return dataclasses.replace(
        fresh,
        values=jnp.asarray([values.get(p.name, fresh.values[i]) for i, p in enumerate(fresh.parameters)], dtype),
        start=jnp.asarray(np.concatenate([np.zeros(0, dtype), *(numbers for numbers, _ in found)])),
        given=tuple(flag for _, flag in found),
    )


def _state(entry: list[Any]) -> tuple[str, int]:
    if len(entry) != 2:
        raise damaged("a state has not two parts")
    size = checked(entry[1], int, "the size of a state")
    if size < 1:
        raise damaged("a state has no size")
    return checked(entry[0], str, "the name of a state"), size


def _compiled(system: System, fingerprint: str) -> Model:
    """The system, compiled as it was: which of the two ways that was, the generated code says."""
    try:
        model = compile(system)
        if _fingerprint(model) == fingerprint:
            return model
        unsimplified = compile(system, simplify=False)
    except (ModelError, RecursionError):
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError) as error:
        raise ModelError(
            f"The system `{system.name}` in the file cannot be compiled: {type(error).__name__}: {error}",
            remedy="take an undamaged copy; if this one is undamaged, that is a defect of symdeq: please report it",
        ) from error
    if _fingerprint(unsimplified) == fingerprint:
        return unsimplified
    warnings.warn(
        SymdeqWarning(
            f"The saved model `{system.name}` was compiled by another version of symdeq, and this one generates other "
            "code for it: results may differ in the last digits.\n  remedy: save it again to make this warning go away"
        ),
        stacklevel=6,
    )
    return model

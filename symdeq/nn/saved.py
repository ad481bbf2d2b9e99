"""Layers as data, so that `save` and `load` know them: settings, models, and networks; solvers and adjoints by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import diffrax as dfx
import equinox as eqx

from symdeq._errors import ModelError, UnsupportedError
from symdeq.nn.deq import DEQ
from symdeq.nn.layer import ODELayer
from symdeq.nn.neural_ode import NeuralODE
from symdeq.nn.rest_layer import RestCell
from symdeq.saving import Described, describe, register
from symdeq.solvers import BDF, Anderson, AutoSwitch, Broyden, FixedPoint, NewtonKrylov, Rodas5P, Rosenbrock23

# Those that have settings of their own are known with their defaults only.
SOLVERS: Mapping[str, Any] = MappingProxyType(
    {
        **{
            f"diffrax.{name}": getattr(dfx, name)()
            for name in (
                *("Euler", "Heun", "Midpoint", "Ralston", "Bosh3", "Tsit5", "Dopri5", "Dopri8"),
                *("ImplicitEuler", "Kvaerno3", "Kvaerno4", "Kvaerno5"),
            )
        },
        **{f"symdeq.{type(s).__name__}": s for s in (Rodas5P(), Rosenbrock23(), BDF(), AutoSwitch())},
    }
)
FINDERS: Mapping[str, Any] = MappingProxyType(
    {**SOLVERS, **{f"symdeq.{type(s).__name__}": s for s in (Anderson(), Broyden(), FixedPoint(), NewtonKrylov())}}
)
ADJOINTS: Mapping[str, Any] = MappingProxyType(
    {
        f"diffrax.{name}": getattr(dfx, name)()
        for name in ("RecursiveCheckpointAdjoint", "DirectAdjoint", "ForwardMode", "BacksolveAdjoint")
    }
)


def _settings(layer: ODELayer) -> dict[str, Any]:
    return {
        "t0": layer.t0,
        "t1": layer.t1,
        "saveat": layer.saveat,
        "rtol": layer.rtol,
        "atol": layer.atol,
        "solver": _named(layer.solver, SOLVERS, "solver"),
        "adjoint": _named(layer.adjoint, ADJOINTS, "adjoint"),
        "max_steps": layer.max_steps,
    }


def _named(choice: Any, known: Mapping[str, Any], what: str) -> str:
    if isinstance(choice, str):
        return choice
    for name, one in known.items():
        if type(one) is type(choice) and eqx.tree_equal(one, choice, typematch=True):
            return name
    raise UnsupportedError(
        f"The {what} of a layer, {choice}, cannot be saved.",
        remedy=f"use one of {', '.join(known)} as it comes, or save the model and build the layer again",
    )


def _restored(data: Mapping[str, Any]) -> dict[str, Any]:
    settings = dict(data)
    for what, known in (("solver", SOLVERS), ("adjoint", ADJOINTS)):
        name = settings[what]
        if "." in name:
            if name not in known:
                raise ModelError(f"The file names the {what} {name!r:.60}, which is not known.")
            settings[what] = known[name]
    return settings


@describe.register
def _(thing: ODELayer) -> Described:
    outputs = tuple(thing.model.compiled.expression(output) for output in thing.outputs)
    data = {"inputs": thing.inputs, "outputs": outputs, **_settings(thing)}
    return Described(kind="ODELayer", data=data, models=(thing.model,))


@describe.register
def _(thing: NeuralODE) -> Described:
    structure = thing.layer.model.system.structure
    assert structure is not None
    data = {
        **_settings(thing.layer),
        "size": thing.in_size,
        "augment": thing.augment,
        "time": not structure.autonomous,
        "trace": thing.trace,
    }
    return Described(kind="NeuralODE", data=data, modules={"network": thing.network})


@describe.register
def _(thing: DEQ) -> Described:
    if thing.linear_solver is not None:
        raise UnsupportedError(
            "The linear solver of a DEQ cannot be saved.", remedy="save its cell or model and build the layer again"
        )
    data: dict[str, Any] = {
        name: getattr(thing, name)
        for name in ("rtol", "atol", "max_steps", "backward", "jacobian_regularization", "shape")
    }
    data["solver"] = _named(thing.solver, FINDERS, "solver")
    modules = {"init": thing.init} if callable(thing.init) else {}
    data["init"] = "module" if modules else thing.init
    if not isinstance(thing.cell, RestCell):
        return Described(kind="DEQ", data=data, modules={"cell": thing.cell, **modules})
    model = thing.cell.model
    sides = {"inputs": thing.cell.inputs, "outputs": tuple(map(model.compiled.expression, thing.cell.outputs))}
    return Described(kind="DEQ", data={**data, **sides}, models=(model,), modules=modules)


def _deq(described: Described) -> DEQ:
    settings = dict(described.data)
    name = settings["solver"]
    if "." in name:
        if name not in FINDERS:
            raise ModelError(f"The file names the solver {name!r:.60}, which is not known.")
        settings["solver"] = FINDERS[name]
    if settings["init"] == "module":
        settings["init"] = described.modules["init"]
    return DEQ(described.models[0] if described.models else described.modules["cell"], **settings)


def _ode_layer(described: Described) -> ODELayer:
    (model,) = described.models
    return ODELayer(model, **_restored(described.data))


def _neural_ode(described: Described) -> NeuralODE:
    return NeuralODE(described.modules["network"], **_restored(described.data))


register("ODELayer", _ode_layer)
register("NeuralODE", _neural_ode)
register("DEQ", _deq)

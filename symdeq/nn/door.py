"""What a layer was asked for, checked: everything that can be known before the first call is refused here."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

from symdeq._errors import ModelError
from symdeq._values import as_array, concrete
from symdeq.compiled import Model
from symdeq.model import ModelSymbol
from symdeq.solve.saveat import check_saveat

_AT_THE_CALL = "hand over at the call what is traced: layer(vector, t1=..., saveat=...)"


def checked_model(model: Any) -> Model:
    """A compiled model, or an error."""
    if isinstance(model, Model):
        return model
    raise ModelError(
        f"A layer needs a compiled model, not {type(model).__name__}.",
        remedy="model = sd.compile(system); sd.ODELayer(model, ...)",
    )


def checked_inputs(model: Model, inputs: Any) -> tuple[ModelSymbol, ...]:
    """The states and parameters that a vector feeds, or an error."""
    found: list[ModelSymbol] = []
    for name in _listed(inputs, "inputs"):
        kind, i = model.position(name)
        if kind == "observed":
            raise ModelError(
                f"`{name}` follows from the equations and cannot be an input.",
                where=model.system.observed[i].located,
                remedy="use the states and parameters that it is computed from",
            )
        if kind == "network":
            raise ModelError(
                f"`{name}` is a network and cannot be an input.",
                remedy="its arrays are values of the layer, trained with it; replace it in the model",
            )
        symbol = (model.states if kind == "state" else model.parameters)[i]
        if symbol in found:
            raise ModelError(f"`{symbol}` stands twice among the inputs.", remedy="leave one out")
        found.append(symbol)
    return tuple(found)


def checked_outputs(model: Model, outputs: Any) -> tuple[Any, ...]:
    """The quantities that a layer returns, as expressions of what the compiler kept, or an error."""
    given = _listed(outputs, "outputs")
    if not given:
        raise ModelError("A layer needs at least one output.", remedy="outputs=[x]")
    expressions = tuple(model.compiled.expression(quantity) for quantity in given)
    # What cannot be evaluated is an error here, and not in the middle of a program.
    shapes = (
        jax.ShapeDtypeStruct((1,), model.start.dtype),
        jax.ShapeDtypeStruct((1, *model.start.shape), model.start.dtype),
    )
    jax.eval_shape(lambda ts, ys: model.evaluate(expressions, ts, ys), *shapes)
    return expressions


def in_size(inputs: Sequence[ModelSymbol]) -> int:
    """How many entries the vector of these inputs has."""
    return sum(_size(symbol) for symbol in inputs)


def fed(model: Model, inputs: Sequence[ModelSymbol], vector: Any) -> Model:
    """A model with the entries of a vector, shape (inputs,), in the place of its values, or an error."""
    names = ", ".join(f"{s.name} ({_size(s)} entries)" if _is_vector(s) else s.name for s in inputs)
    names = names or "none"
    if vector is None and inputs:
        raise ModelError(f"The layer needs a vector of its inputs: {names}.", remedy="layer(vector)")
    try:
        given = as_array(() if vector is None else vector, model.values.dtype)
    except (TypeError, ValueError):
        raise ModelError(f"A layer takes a vector of numbers, not {vector!r}.", remedy=f"its inputs: {names}") from None
    if given.shape != (in_size(inputs),):
        raise ModelError(
            f"The vector has the shape {given.shape}; the layer's inputs need ({in_size(inputs)},): {names}.",
            remedy="give one vector; batches are jax.vmap(layer)(vectors)",
        )
    values: dict[str, Any] = {}
    place = 0
    for symbol in inputs:
        size = _size(symbol)
        values[symbol.name] = given[place : place + size] if _is_vector(symbol) else given[place]
        place += size
    return model.replace(values)


def _is_vector(symbol: Any) -> bool:
    return bool(getattr(symbol, "shape", ()))


def _size(symbol: Any) -> int:
    return int(np.prod(getattr(symbol, "shape", ()), dtype=int))


def _listed(given: Any, role: str) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ModelError(f"{role} must be a list, not {given!r}.", remedy=f"{role}=[{given}]")
    return list(given)


def checked_time(model: Model, value: Any, role: str) -> Any:
    """A number, or an expression in parameters, or an error."""
    if not concrete(value):
        raise ModelError(f"{role} of a layer must be known when it is built.", remedy=_AT_THE_CALL)
    if model.constant(value, role) is not value:
        return value
    try:
        number = as_array(value, float)
    except (TypeError, ValueError):
        raise ModelError(f"{role} must be a number or an expression in parameters, not {value!r}.") from None
    if number.shape != () or not np.isfinite(number):
        raise ModelError(f"{role} must be one finite number, not {value!r}.")
    return float(number)


def checked_times(model: Model, saveat: Any, t0: Any, t1: Any) -> tuple[float, ...]:
    """The times to save at, or an error."""
    if isinstance(saveat, dfx.SaveAt):
        raise ModelError(
            "A layer saves at times, and not as a diffrax.SaveAt says.",
            remedy="give an array of times, or a spacing; for all else use sd.solve",
        )
    if not concrete(saveat):
        raise ModelError("The times of a layer must be known when it is built.", remedy=_AT_THE_CALL)
    if t1 is None:
        if np.ndim(saveat) != 1 or not np.size(saveat):
            raise ModelError(
                "A layer needs t1, the end of the interval.", remedy="t1=..., or an array of times as saveat"
            )
        t1 = np.asarray(saveat)[-1]
    with jax.ensure_compile_time_eval():  # also where a layer is built while a program is traced
        start, end = (jnp.asarray(model.constant(value, "a time"), float) for value in (t0, t1))
        asked, _, _ = check_saveat(saveat, start, end, np.dtype(float))
    return tuple(float(time) for time in np.asarray(asked.subs.ts))  # pyright: ignore[reportAttributeAccessIssue]


def checked_tolerance(value: Any, role: str) -> Any:
    """`None`, a number, or a tuple of numbers."""
    if value is None:
        return None
    if not concrete(value):
        raise ModelError(f"{role} of a layer must be known when it is built.", remedy="give a number such as 1e-6")
    try:
        found = as_array(value, float)
    except (TypeError, ValueError):
        raise ModelError(f"{role} must be a number, not {value!r}.", remedy="give a number such as 1e-6") from None
    if not (np.isfinite(found) & (found > 0)).all():
        raise ModelError(f"{role} must be positive and finite, not {value}.", remedy="give a number such as 1e-6")
    return tuple(float(v) for v in found) if found.ndim else float(found)


def checked_max_steps(value: Any) -> int:
    """A whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ModelError(f"max_steps must be a whole number from 1 on, not {value!r}.", remedy="it bounds the work")
    return int(value)


def checked_choice(value: Any, role: str) -> Any:
    """A solver or an adjoint, which a layer compares by value."""
    if not isinstance(value, Hashable):
        raise ModelError(f"{role}={value!r} is nothing that a layer can hold.", remedy='use "auto"')
    try:
        hash(value)
    except TypeError:
        raise ModelError(
            f"The {role} of a layer must be hashable; {type(value).__name__} holds an array.",
            remedy="give its settings as Python numbers",
        ) from None
    return value


def text_of_number(value: Any) -> str:
    """A time as `repr` shows it."""
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)

"""The unknowns of a fit and the coordinates in which they are searched.

Three views of an unknown: its `value`; its value on its own scale (`log value` on a logarithmic one), on which
uncertainty is stated; and the search coordinate u, an unbounded number that a smooth bijection takes into the bounds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError, UnsupportedError
from symdeq.compiled import Model
from symdeq.model import ModelSymbol, Parameter
from symdeq.model.symbols import Scale

# A start is drawn up to this factor above or below the declared value where bounds do not say how far.
_SPREAD = 10.0
# A declared value that lies on a bound starts this part of the way inside.
_INSIDE = 1e-2


@dataclasses.dataclass(frozen=True)
class Unknown:
    """How an unknown is searched, where it differs from what was declared.

    - `bounds`: lowest and highest value, `None` at either end for unbounded; default as declared.
    - `scale`: `"linear"` or `"log"`; default as declared, for initial values `"linear"`.
    """

    bounds: tuple[float | None, float | None] | None = None
    scale: Scale | None = None

    def __post_init__(self) -> None:
        if self.scale not in (None, "linear", "log"):
            raise ModelError(f'scale must be "linear" or "log", not {self.scale!r}.')
        if self.bounds is not None:
            _check_bounds(self.bounds)


class Coordinates(eqx.Module):
    """The unknowns, p of them, in order.

    - `names`: of parameters, and of states, whose initial value is meant.
    - `log`: which have a logarithmic scale.
    - `bounded`: whether there is a lower and an upper bound.
    - `low`, `high`: bounds on the scale, shape (p,); 0 where there is none.
    - `centre`, `size`: shape (p,); an unbounded unknown is `centre + size * u` on its scale.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    log: tuple[bool, ...] = eqx.field(static=True)
    bounded: tuple[tuple[bool, bool], ...] = eqx.field(static=True)
    low: Array
    high: Array
    centre: Array
    size: Array

    def scaled(self, u: Array) -> Array:
        """From search coordinates to the scale: the logistic function between two bounds, the exponential at one."""
        low, high = self._sides()
        # Where the branch is not taken its argument is made harmless, so that it cannot overflow.
        between = self.low + (self.high - self.low) * jax.nn.sigmoid(u)
        growing = jnp.exp(jnp.where(low != high, u, 0))
        one_sided = jnp.where(low, self.low + growing, self.high - growing)
        return jnp.where(low & high, between, jnp.where(low | high, one_sided, self.centre + self.size * u))

    def search(self, scaled: np.ndarray) -> np.ndarray:
        """From the scale to search coordinates, on the host; a value on a bound is moved a little inside."""
        low, high = self._sides()
        lows, highs, centre, size = (np.asarray(a, dtype=float) for a in (self.low, self.high, self.centre, self.size))
        part = (scaled - lows) / np.where(low & high, highs - lows, 1)
        part = np.where(part < 1e-9, _INSIDE, np.where(part > 1 - 1e-9, 1 - _INSIDE, part))
        distance = np.where(low, scaled - lows, highs - scaled)
        distance = np.where(
            distance > 1e-9 * np.abs(scaled), distance, _INSIDE * np.where(scaled == 0, 1, np.abs(scaled))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            between, one_sided = np.log(part) - np.log1p(-part), np.log(distance)
        return np.where(low & high, between, np.where(low | high, one_sided, (scaled - centre) / size))

    def values(self, scaled: Any) -> Any:
        """From the scale to values."""
        xp = np if isinstance(scaled, np.ndarray) else jnp
        log = np.array(self.log, dtype=bool)
        return xp.where(log, xp.exp(xp.where(log, scaled, 0.0)), scaled)

    def draw(self, scaled: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
        """Starting points on the scale, shape (starts, p), from numbers in (0, 1) of that shape.

        Uniform between two bounds; else around the present value: up to a factor of ten, or of an unbounded linear
        unknown its own size, away.
        """
        low, high = self._sides()
        lows, highs = np.asarray(self.low, dtype=float), np.asarray(self.high, dtype=float)
        decade = (2 * quantiles - 1) * math.log(_SPREAD)
        distance = np.abs(np.where(low, scaled - lows, highs - scaled))
        distance = np.where(distance == 0, np.where(scaled == 0, 1, np.abs(scaled)), distance) * np.exp(decade)
        one_sided = np.where(low, lows + distance, highs - distance)
        linear = scaled + (2 * quantiles - 1) * np.where(scaled == 0, 1, np.abs(scaled))
        free = np.where(np.array(self.log, dtype=bool), scaled + decade, linear)
        return np.where(low & high, lows + (highs - lows) * quantiles, np.where(low | high, one_sided, free))

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The bounds on the scale, infinite where there is none."""
        low, high = self._sides()
        return np.where(low, np.asarray(self.low), -np.inf), np.where(high, np.asarray(self.high), np.inf)

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        sides = np.array(self.bounded, dtype=bool).reshape(-1, 2)
        return sides[:, 0], sides[:, 1]


def resolve(model: Model, unknowns: Any) -> tuple[Coordinates, np.ndarray]:
    """The coordinates of what `fit` was asked to estimate, and the present values on their scales, shape (p,).

    Arguments:

    - `model`: whose values the search starts from.
    - `unknowns`: `None` for all parameters; symbols or names; or a dictionary from those to `Unknown` or `None`.

    Raises `ModelError` for a symbol that the model does not have, one named twice, a value outside its bounds, and an
    unknown without a value that has no bounds to start from.
    """
    asked = _asked(model, unknowns)
    names, log, bounded, low, high, start = [], [], [], [], [], []
    for symbol, given in asked:
        name, value, bounds, scale = _declared(model, symbol, given)
        if name in names:
            raise ModelError(f"`{name}` is among the unknowns twice.")
        ends = [math.log(b) if scale == "log" and b > 0 else -math.inf if scale == "log" else b for b in bounds]
        if math.isnan(value):
            if not all(map(math.isfinite, ends)):
                raise ModelError(
                    f"The unknown `{name}` has no value and no bounds, so there is nothing to start from.",
                    remedy=f"model.replace({{{name!r}: value}}), or sd.Unknown(bounds=(low, high)) in unknowns",
                )
            scaled = (ends[0] + ends[1]) / 2
        else:
            _check_inside(name, value, bounds, scale)
            scaled = math.log(value) if scale == "log" else value
        names.append(name)
        log.append(scale == "log")
        bounded.append((math.isfinite(ends[0]), math.isfinite(ends[1])))
        low.append(ends[0] if bounded[-1][0] else 0.0)
        high.append(ends[1] if bounded[-1][1] else 0.0)
        start.append(scaled)
    now = np.array(start)
    dtype = model.values.dtype
    logs = np.array(log, dtype=bool)
    coordinates = Coordinates(
        names=tuple(names),
        log=tuple(log),
        bounded=tuple(bounded),
        low=jnp.asarray(low, dtype),
        high=jnp.asarray(high, dtype),
        centre=jnp.asarray(now, dtype),
        size=jnp.asarray(np.where(logs | (now == 0), 1.0, np.abs(now)), dtype),
    )
    return coordinates, now


def _asked(model: Model, unknowns: Any) -> list[tuple[Any, Unknown]]:
    if unknowns is None:
        unknowns = model.parameters
    if isinstance(unknowns, str | ModelSymbol) or not isinstance(unknowns, Iterable):
        raise ModelError(
            f"unknowns must be a list of symbols or names, not {unknowns!r}.", remedy=f"unknowns=[{unknowns}]"
        )
    pairs = list(unknowns.items()) if isinstance(unknowns, Mapping) else [(symbol, None) for symbol in unknowns]
    if not pairs:
        raise ModelError("There is nothing to estimate.", remedy="name parameters or states: unknowns=[a, x]")
    for symbol, given in pairs:
        if given is not None and not isinstance(given, Unknown):
            raise ModelError(
                f"How the unknown `{symbol}` is searched must be an sd.Unknown, not {given!r}.",
                remedy=f"unknowns={{{symbol}: sd.Unknown(bounds=(low, high))}}, or None for as declared",
            )
    return [(symbol, given or Unknown()) for symbol, given in pairs]


def _declared(model: Model, symbol: Any, given: Unknown) -> tuple[str, float, tuple[float, float], Scale]:
    kind, i = model.position(symbol)
    if kind == "network" or (kind == "state" and model.states[i].shape):
        raise UnsupportedError(
            f"`{symbol}` is {'a network' if kind == 'network' else 'a vector'}, which a fit does not estimate.",
            remedy="train it by gradients: docs/guide/networks.md",
        )
    if kind == "observed":
        raise ModelError(
            f"`{model.observed[i]}` follows from the equations, so it cannot be an unknown.",
            where=model.system.observed[i].located,
            remedy="estimate the parameters and initial values that it is computed from",
        )
    declared: Parameter | None = None
    if kind == "parameter":
        declared = model.parameters[i]
        name, value = declared.name, float(model.values[i])
    else:
        name = model.states[i].name
        if not model.generated.mass[model.place(i)]:
            raise ModelError(
                f"The initial value of `{name}` follows from the algebraic equations, so it cannot be an unknown.",
                remedy="estimate the initial values of differential states",
            )
        missing = model.states[i] in model.missing_initial
        value = math.nan if missing else float(model.initial_state()[model.place(i)])
    bounds = given.bounds or (declared.bounds if declared is not None else (None, None))
    low, high = (
        (-math.inf if bounds[0] is None else float(bounds[0])),
        (math.inf if bounds[1] is None else float(bounds[1])),
    )
    return name, value, (low, high), given.scale or (declared.scale if declared is not None else "linear")


def _check_bounds(bounds: Any) -> None:
    try:
        low, high = (None if b is None else float(b) for b in bounds)
    except (TypeError, ValueError):
        raise ModelError(f"bounds must be a pair (low, high), not {bounds!r}.") from None
    if low is not None and high is not None and not low < high:
        raise ModelError(f"The bounds {low:g} to {high:g} are empty.")


def _check_inside(name: str, value: float, bounds: tuple[float, float], scale: str) -> None:
    if scale == "log" and (value <= 0 or bounds[1] <= 0):
        raise ModelError(
            f"The unknown `{name}` has a logarithmic scale, but the value {value:g} or its bounds are not positive.",
            remedy=f'give a positive value and bounds, or unknowns={{{name!r}: sd.Unknown(scale="linear")}}',
        )
    slack = 1e-6 * abs(value)  # a declared value on a bound may lie outside it after rounding to single precision
    if not bounds[0] - slack <= value <= bounds[1] + slack:
        raise ModelError(
            f"The unknown `{name}` starts at {value:g}, outside its bounds {bounds[0]:g} to {bounds[1]:g}.",
            remedy="widen the bounds, or change the value by model.replace",
        )

"""`MultipleShooting`: a long trajectory as short ones with free starts, which training joins."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq._values import concrete
from symdeq.nn.layer import ODELayer
from symdeq.nn.neural_ode import NeuralODE
from symdeq.solve.dde import refuse_delays


class MultipleShooting(eqx.Module):
    """A layer over segments of time, each with its own start, which is trained with the layer.

    A loss over one long trajectory of a chaotic, oscillating or unstable model has as many local minima as the
    trajectory has ways to go wrong early on. Over segments it has few; a penalty on the gaps between them joins them:
    H. G. Bock, Recent advances in parameter identification techniques for O.D.E., 1983.

    Arguments:

    - `layer`: an `ODELayer` whose inputs are all states of its model, or a `NeuralODE`.
    - `times`: increasing, shape (times,), from `t0` of the layer on; the end is the last.
    - `segments`: how many, each with the same number of times as far as possible.
    - `guess`: the inputs at these times as far as they are known, such as the measurements themselves: shape
        (times, inputs), or (inputs,) for all. The starts of the segments are taken from it, and the nominal size of
        each state: its largest value.

    Train it as a module, and take `layer` out of it afterwards:

        shooting = sd.MultipleShooting(layer, times, segments=8, guess=values)
        layer = sd.train(shooting, lambda s: s.loss(values), steps=500).module.layer

    Raises `ModelError` for a layer with other inputs, and times or a guess that do not fit.
    """

    layer: ODELayer | NeuralODE
    starts: Array
    times: tuple[float, ...] = eqx.field(static=True)
    cuts: tuple[int, ...] = eqx.field(static=True)
    sizes: Array

    def __init__(self, layer: ODELayer | NeuralODE, times: Any, segments: int, guess: Any):
        inner = _inner(layer)
        model = inner.model
        if {s.name for s in inner.inputs} != {s.name for s in model.states}:
            raise ModelError(
                "Multiple shooting needs a layer whose inputs are the states and nothing else.",
                remedy=f"inputs=[{', '.join(s.name for s in model.states)}]; parameters are trained all the same",
            )
        refuse_delays(model, "multiple shooting")
        if not isinstance(inner.t0, float):
            raise ModelError("Multiple shooting needs a start that is a number.", remedy="t0=0.0")
        known = _times(times, inner.t0)
        if isinstance(segments, bool) or not isinstance(segments, int) or not 1 <= segments <= len(known):
            raise ModelError(f"segments must be a whole number from 1 to {len(known)}, the times, not {segments!r}.")
        rows = np.asarray(guess, dtype=float)
        if rows.shape not in ((inner.in_size,), (len(known), inner.in_size)) or not np.isfinite(rows).all():
            raise ModelError(
                f"guess must be finite and of shape ({inner.in_size},) or ({len(known)}, {inner.in_size}), "
                f"not {rows.shape}.",
                remedy="give the inputs at each time, as far as they are known",
            )
        rows = np.broadcast_to(rows, (len(known), inner.in_size))
        self.layer, self.times = layer, known
        self.cuts = tuple(int(c) for c in np.linspace(0, len(known), segments + 1).round())
        self.starts = jnp.asarray(rows[list(self.cuts[:-1])], model.start.dtype)
        largest = np.max(np.abs(rows), axis=0)
        # An array, since other sizes must not compile anew; `__call__` keeps it from being trained.
        self.sizes = jnp.asarray(np.where(largest > 0, largest, 1.0), model.start.dtype)

    def __call__(self) -> tuple[Array, Array]:
        """The outputs at all times, shape (times, outputs), and the gaps at the joints, shape (segments - 1, states).

        A gap is the state at the end of a segment less the start of the next, in units of the states' nominal sizes.
        The segments are solved one after the other.
        """
        inner = _inner(self.layer)
        begin, end, saved = self._plan()

        def segment(given: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
            vector, t0, t1, ts = given
            solution = inner.solve(vector, t0=t0, t1=t1, saveat=ts)
            states = solution.model.evaluate(inner.inputs, solution.ts[-1:], solution.ys[-1:])
            last = jnp.concatenate([s.reshape(-1) for s in states])
            return inner.read(solution), jnp.where(jnp.asarray(solution.ok), last, jnp.nan)

        dtype = self.starts.dtype
        arrays = (self.starts, *(jnp.asarray(part, dtype) for part in (begin, end, saved)))
        outputs, last = jax.lax.map(segment, arrays)
        counts = np.diff(self.cuts)
        rows = np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(n) for n in counts])
        return outputs[rows], (last[:-1] - self.starts[1:]) / jax.lax.stop_gradient(self.sizes)

    def loss(self, values: Any, joint: Any = 1.0, scale: Any = None) -> Array:
        """The mean square of the scaled differences from measurements, and of the gaps.

        Arguments:

        - `values`: shape (times, outputs); NaN where nothing was measured.
        - `joint`: the weight of the gaps; default 1. Raised from stage to stage it closes them.
        - `scale`: nominal sizes of the outputs, shape (outputs,); default the largest value of each.

        Returns a scalar.
        """
        predicted, gaps = self()
        values = jnp.asarray(values, predicted.dtype)
        present = jnp.isfinite(values)
        filled = jnp.where(present, values, 0)
        if scale is None:
            scale = jnp.max(jnp.abs(filled), axis=0)
            scale = jnp.where(scale > 0, scale, 1)
        differences = jnp.where(present, (predicted - filled) / scale, 0)
        misfit = jnp.sum(differences**2) / jnp.maximum(jnp.sum(present), 1)
        return misfit + joint * jnp.sum(gaps**2) / max(gaps.size, 1)

    def _plan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start and end of each segment, and its times, filled up with its end so that all have equally many."""
        times, cuts = np.array(self.times), np.array(self.cuts)
        begin = times[cuts[:-1]].copy()
        begin[0] = _inner(self.layer).t0
        end = np.append(times[cuts[1:-1]], times[-1])
        width = int(np.diff(cuts).max()) + 1
        saved = [
            np.append(times[a:b], np.full(width - (b - a), e)) for a, b, e in zip(cuts[:-1], cuts[1:], end, strict=True)
        ]
        return begin, end, np.stack(saved)


def _inner(layer: Any) -> ODELayer:
    """The layer from states to outputs."""
    if isinstance(layer, NeuralODE):
        return layer.layer
    if isinstance(layer, ODELayer):
        return layer
    raise ModelError(f"Multiple shooting needs an ODELayer or a NeuralODE, not {type(layer).__name__}.")


def _times(times: Any, t0: float) -> tuple[float, ...]:
    if not concrete(times):
        raise ModelError("The times of multiple shooting must be known when it is built.")
    known = np.asarray(times, dtype=float)
    if known.ndim != 1 or len(known) < 2 or not (np.diff(known) > 0).all() or not known[0] >= t0:
        raise ModelError(
            f"The times must be at least two, increasing, from t0 = {t0:g} on.",
            remedy="sort them, and leave doubles out",
        )
    return tuple(float(time) for time in known)

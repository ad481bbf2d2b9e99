"""`NeuralSDE`: du = drift(u) dt + diffusion(u) dW as a layer, each entry with a Brownian motion of its own."""

from __future__ import annotations

from typing import Any, Literal

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import numpy as np
import wadler_lindig as wl
from jaxtyping import Array

from symdeq._errors import ModelError, SolveError
from symdeq._values import as_array, concrete
from symdeq.solvers import Doubling

Calculus = Literal["ito", "stratonovich"]
# The Brownian path is resolved to this part of the interval; steps do not become shorter.
_RESOLUTION = 2.0**-14


class NeuralSDE(eqx.Module):
    """Two networks as drift and diffusion of a stochastic differential equation: u0 and a key go in, u(t1) comes out.

    The noise is diagonal: entry i of u is moved by `diffusion(u)[i]` times a Brownian motion of its own. The array
    leaves are those of the networks, which `eqx.filter_grad` differentiates along the path that the key stands for.

    Arguments:

    - `drift`, `diffusion`: modules from shape (n,) to shape (n,); with `time` from (n + 1,), the time last.
    - `t1`, `t0`: end and start (default 0), numbers.
    - `saveat`: times at which u is returned, shape (times,), any spacing; default: at `t1` only.
    - `calculus`: `"ito"` (default) or `"stratonovich"`.
    - `rtol`, `atol`: tolerances of a step, default 1e-2 and 1e-3. What they say of the error at the end depends on the
        equation: halve them and compare.
    - `solver`: of diffrax; default Milstein's method for the calculus, of strong order 1, with its error by step
        doubling. One without an error estimate makes `max_steps` equal steps, and knows u at their ends only: give
        times to save at that are among them.
    - `max_steps`: default 4096.
    - `adjoint`: of diffrax; default `diffrax.RecursiveCheckpointAdjoint()`.
    - `time`: whether the networks take the time as their last input; default `False`.

    Sources: P. E. Kloeden, E. Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 10.3;
    X. Li et al., Scalable gradients for stochastic differential equations, AISTATS 2020.
    """

    drift: Any
    diffusion: Any
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    saveat: tuple[float, ...] | None = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)
    solver: Any = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    adjoint: Any = eqx.field(static=True)
    time: bool = eqx.field(static=True)

    def __init__(
        self,
        drift: Any,
        diffusion: Any,
        t1: float | None = None,
        saveat: Any = None,
        *,
        t0: float = 0.0,
        calculus: Calculus = "ito",
        rtol: float = 1e-2,
        atol: float = 1e-3,
        solver: Any = None,
        max_steps: int = 4096,
        adjoint: Any = None,
        time: bool = False,
    ):
        for name, network in (("drift", drift), ("diffusion", diffusion)):
            if not callable(network):
                raise ModelError(f"The {name} of a NeuralSDE must be a network that can be called, not {network!r}.")
        if calculus not in ("ito", "stratonovich"):
            raise ModelError(f'calculus must be "ito" or "stratonovich", not {calculus!r}.')
        times = None if saveat is None else np.asarray(saveat, dtype=float)
        if t1 is None:
            if times is None or times.ndim != 1 or not times.size:
                raise ModelError("A NeuralSDE needs t1, the end of the interval.", remedy="t1=1.0, or saveat=times")
            t1 = float(times[-1])
        self.t0, self.t1 = float(t0), float(t1)
        if not np.isfinite([self.t0, self.t1]).all() or self.t1 <= self.t0:
            raise ModelError(f"A NeuralSDE runs forward in time, not from t0 = {t0} to t1 = {t1}.")
        inside = times is None or (times.ndim == 1 and (np.diff(times) >= 0).all() and self.t0 <= times[0])
        if not inside or (times is not None and times[-1] > self.t1):
            raise ModelError(
                "saveat must be times in order between t0 and t1.", remedy="such as jnp.linspace(t0, t1, 20)"
            )
        self.saveat = None if times is None else tuple(float(v) for v in times)
        milstein = dfx.ItoMilstein() if calculus == "ito" else dfx.StratonovichMilstein()
        self.drift, self.diffusion, self.time = drift, diffusion, bool(time)
        self.solver = Doubling(milstein) if solver is None else solver
        self.rtol, self.atol, self.max_steps = float(rtol), float(atol), int(max_steps)
        self.adjoint = dfx.RecursiveCheckpointAdjoint() if adjoint is None else adjoint

    def __call__(self, u0: Any, *, key: Any) -> Array:
        """One path; batches are `jax.vmap(lambda u0, key: sde(u0, key=key))(u0s, keys)`.

        Arguments:

        - `u0`: shape (n,).
        - `key`: a `jax.random.key`; equal keys give equal Brownian motions, whatever the steps.

        Returns shape (n,), at `t1`; with times to save at shape (times, n). NaN where the solve failed, and outside
        `jax.jit` a `SolveError`.
        """
        start = jnp.asarray(as_array(u0, jnp.result_type(float)))
        if start.ndim != 1:
            raise ModelError(f"u0 has the shape {start.shape}; it must be a vector.", remedy="batches are jax.vmap")
        adaptive = isinstance(self.solver, dfx.AbstractAdaptiveSolver)
        controller = dfx.ConstantStepSize()
        if adaptive:
            controller = dfx.PIDController(self.rtol, self.atol)
            if self.saveat is not None:  # steps end at the times: between its ends, nothing is known of a path
                controller = dfx.ClipStepSizeController(controller, step_ts=jnp.asarray(self.saveat))
        found = dfx.diffeqsolve(
            self._terms(self.path(start.shape[0], key)),
            self.solver,
            self.t0,
            self.t1,
            (self.t1 - self.t0) / (100 if adaptive else self.max_steps),
            start,
            saveat=dfx.SaveAt(t1=True) if self.saveat is None else dfx.SaveAt(ts=jnp.asarray(self.saveat)),
            stepsize_controller=controller,
            adjoint=self.adjoint,
            max_steps=self.max_steps + 1,
            throw=False,
        )
        good = found.result == dfx.RESULTS.successful
        if concrete(good) and not bool(good):
            raise SolveError(
                f"The NeuralSDE did not reach t = {self.t1:g} in {self.max_steps} steps: {dfx.RESULTS[found.result]}\n"
                "  remedy: larger tolerances, more max_steps, or smaller networks' outputs"
            )
        assert found.ys is not None
        ys = jnp.where(good, found.ys, jnp.nan)
        return ys[0] if self.saveat is None else ys

    def path(self, size: int, key: Any) -> dfx.VirtualBrownianTree:
        """The Brownian motion, of `size` entries, that a key stands for: `path.evaluate(t0, t)` is W(t)."""
        tol = (self.t1 - self.t0) * _RESOLUTION
        levy = dfx.BrownianIncrement
        return dfx.VirtualBrownianTree(self.t0, self.t1, tol=tol, shape=(size,), key=key, levy_area=levy)

    def _terms(self, path: dfx.VirtualBrownianTree) -> dfx.MultiTerm:
        def called(network: Any, t: Any, u: Array) -> Array:
            return network(jnp.concatenate([u, jnp.reshape(jnp.asarray(t, u.dtype), 1)]) if self.time else u)

        return dfx.MultiTerm(
            dfx.ODETerm(lambda t, u, _: called(self.drift, t, u)),
            dfx.ControlTerm(lambda t, u, _: lx.DiagonalLinearOperator(called(self.diffusion, t, u)), path),
        )

    def __pdoc__(self, **_: Any) -> wl.AbstractDoc:
        """How it prints inside another module."""
        return wl.TextDoc(repr(self))

    def __repr__(self) -> str:
        drift, diffusion = type(self.drift).__name__, type(self.diffusion).__name__
        return f"NeuralSDE of {drift} and {diffusion}, t = {self.t0:g} to {self.t1:g}"

"""What a fit minimises: the differences between model and measurements, their derivatives, and the likelihood.

Measurement i of column c differs from the model by d_ci on the scale of the column's noise, and is normal there with
standard deviation sigma_c. Minus the logarithm of the likelihood is, constants apart,

    sum over c with known sigma of   sum_i d_ci^2 / (2 sigma_c^2)
  + sum over c with estimated sigma  n_c / 2 log(sum_i d_ci^2 / n_c),

where in the second line sigma_c^2 = sum_i d_ci^2 / n_c has been put in, the value that maximises the likelihood for
given d (the concentrated likelihood: Seber and Wild, Nonlinear Regression, 1989, section 2.2). `Objective.residuals`
writes this as a sum of squares that least squares can minimise: with q_c = sum_i d_ci^2 / n_c, N = sum_c n_c and G =
prod_c q_c^(n_c / N),

    r_ci = d_ci sqrt(tau G / q_c),   so that   sum_ci r_ci^2 = tau N G,

which has the same minimiser as the second line, for any tau. Beside columns with known sigma, whose residuals are
d_ci / sigma_c, the gradients of both agree where tau = 1 / G.
"""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from symdeq.compiled import Model
from symdeq.fit.noise import AbstractNoise
from symdeq.fit.unknowns import Coordinates
from symdeq.solve import solve

# Why a point has no likelihood; 0 is none of them. `symdeq.fit.starts` has the sentences.
MAX_STEPS, NOT_FINITE, START, DERIVATIVE = 1, 2, 3, 4


class Settings(eqx.Module):
    """How each solve of the model is done; arguments as in `symdeq.solve`."""

    rtol: Any
    atol: Any
    solver: Any
    max_steps: int = eqx.field(static=True)


class Point(eqx.Module):
    """The differences at one point, and what they cost.

    - `scaled`: the unknowns on their scales, shape (p,).
    - `differences`: model minus measurement on the scale of the noise, shape (rows, columns); 0 where nothing was
        measured.
    - `jacobian`: their derivative with respect to `scaled`, shape (rows, columns, p).
    - `failure`: 0, or why the model could not be solved there; the other fields are then meaningless.
    - `reaches`: whether every prediction is one that the noise allows (log-normal errors: a positive one).
    """

    scaled: Array
    differences: Array
    jacobian: Array
    failure: Array
    reaches: Bool[Array, ""]


class Objective(eqx.Module):
    """A model, measurements and noise: everything that a fit's program depends on.

    - `free`: which unknowns are searched, shape (p,); the others stay at `held`, on their scale.
    - `t0`, `times`: the start, and the times of the rows, increasing, shape (rows,).
    - `measured`, `present`: measurements on the scale of the noise, and where there are any, shape (rows, columns).
    - `floor`, `size`: of each column, see `AbstractNoise`; shape (columns,).
    - `sigma`: known standard deviations, shape (columns,); anything where they are estimated.
    - `resolution`: the part of `size` below which differences are errors of the solver: no sigma is taken for smaller.
    - `quantities`, `kinds`, `estimated`: of each column, what it measures, its noise, and whether its sigma is
        estimated.
    """

    model: Model
    coordinates: Coordinates
    free: Array
    held: Array
    t0: Array
    times: Array
    measured: Array
    present: Array
    floor: Array
    size: Array
    sigma: Array
    resolution: Array
    settings: Settings
    quantities: tuple[Any, ...] = eqx.field(static=True)
    kinds: tuple[type[AbstractNoise], ...] = eqx.field(static=True)
    estimated: tuple[bool, ...] = eqx.field(static=True)

    @property
    def mixed(self) -> bool:
        """Whether some sigmas are known and some estimated."""
        return any(self.estimated) and not all(self.estimated)

    def model_at(self, values: Array) -> Model:
        return self.model.replace(dict(zip(self.coordinates.names, values, strict=True)))

    def predict(self, scaled: Array, times: Array) -> tuple[Array, Array, Array]:
        """Predictions on the scale of the noise, shape (times, columns); which it allows; 0 or why the solve failed."""
        model = self.model_at(self.coordinates.values(scaled))
        solution = solve(
            model,
            times[-1],
            self.t0,
            saveat=times,
            rtol=self.settings.rtol,
            atol=self.settings.atol,
            solver=self.settings.solver,
            max_steps=self.settings.max_steps,
            # A parameter more costs a fraction of a solve; in reverse mode a measurement more would cost several.
            adjoint=dfx.ForwardMode(),
            throw=False,
        )
        natural = jnp.stack(model.evaluate(self.quantities, solution.ts, solution.ys), axis=-1)
        columns = [kind.scaled(natural[:, i], self.floor[i]) for i, kind in enumerate(self.kinds)]
        scaled_columns = jnp.stack(columns, axis=-1)
        failure = jnp.where(solution.ok & jnp.all(jnp.isfinite(scaled_columns)), 0, NOT_FINITE)
        failure = jnp.where(solution.result == dfx.RESULTS.max_steps_reached, MAX_STEPS, failure)
        failure = jnp.where(solution.start_ok, failure, START)
        return scaled_columns, natural > self.floor, failure

    def predict_with_slope(self, scaled: Array, times: Array) -> tuple[Array, Array, Array, Array]:
        """What `predict` returns, with the derivative by `scaled`, shape (times, columns, p), before the last.

        One solve carries the state and its sensitivities, and never meets reverse mode.
        """

        def along(direction: Array) -> tuple[Array, Array, tuple[Array, Array]]:
            def predicted(s: Array) -> tuple[Array, tuple[Array, Array]]:
                columns, allowed, failure = self.predict(s, times)
                return columns, (allowed, failure)

            return jax.jvp(predicted, (scaled,), (direction,), has_aux=True)

        basis = jnp.eye(len(scaled), dtype=scaled.dtype)
        columns, slope, (allowed, failure) = jax.vmap(along, out_axes=(None, -1, None))(basis)
        return columns, allowed, slope, jnp.where((failure == 0) & ~jnp.all(jnp.isfinite(slope)), DERIVATIVE, failure)

    def at(self, scaled: Array) -> Point:
        """The differences at a point."""
        predicted, allowed, slope, failure = self.predict_with_slope(scaled, self.times)
        return Point(
            scaled=scaled,
            differences=jnp.where(self.present, predicted - self.measured, 0),
            jacobian=jnp.where(self.present[..., None], slope, 0),
            failure=failure,
            reaches=jnp.all(allowed | ~self.present),
        )

    def spread(self, differences: Array) -> Array:
        """Mean squares of the differences of each column, q, in units of `size`; kept above the solver's resolution."""
        squares = jnp.sum((differences / self.size) ** 2, axis=0)
        return squares / jnp.sum(self.present, axis=0) + self.resolution**2

    def residuals(self, differences: Array, tau: Array) -> Array:
        """The differences weighted for least squares, shape (residuals,); see the head of this file."""
        known = ~np.array(self.estimated)
        weighted = [(differences / self.sigma)[:, known].ravel()]
        if any(self.estimated):
            q, counts = self.spread(differences)[~known], jnp.sum(self.present, axis=0)[~known]
            mean = jnp.exp(jnp.sum(counts * jnp.log(q)) / jnp.sum(counts))
            factor = jnp.sqrt(tau * mean / q)
            weighted.append(((differences / self.size)[:, ~known] * factor).ravel())
            # So that the squares add up to the total with the resolution in it.
            weighted.append(self.resolution * jnp.sqrt(counts) * factor)
        return jnp.concatenate(weighted)

    def tau(self, differences: Array) -> Array:
        """The weight of the columns with estimated sigma beside the others."""
        chosen = np.array(self.estimated)
        q, counts = self.spread(differences)[chosen], jnp.sum(self.present, axis=0)[chosen]
        return jnp.exp(-jnp.sum(counts * jnp.log(q)) / jnp.sum(counts))

    def cost(self, differences: Array) -> Array:
        """Minus the log-likelihood of the measurements on the scale of the noise, with estimated sigmas put in."""
        counts = jnp.sum(self.present, axis=0)
        variance = jnp.where(np.array(self.estimated), self.spread(differences) * self.size**2, self.sigma**2)
        squares = jnp.sum(differences**2, axis=0)
        quadratic = jnp.where(np.array(self.estimated), counts, squares / variance)
        return jnp.sum(counts * jnp.log(2 * np.pi * variance) + quadratic) / 2

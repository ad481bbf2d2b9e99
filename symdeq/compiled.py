"""`compile`: from a `System` to a `Model`, whose functions are generated code and whose array leaves are its values."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jaxtyping import Array

from symdeq import codegen, passes
from symdeq._errors import ModelError
from symdeq.model import Equation, Guess, ModelSymbol, Parameter, State, System, TimeDerivative, t
from symdeq.model.symbols import total_derivative


@dataclasses.dataclass(frozen=True, eq=False)
class Compiled:
    """A system in its final form with its generated functions; compared by both, so that an equal model never recompiles."""

    declared: System
    system: System
    programs: codegen.Programs
    functions: codegen.Functions

    @cached_property
    def _hash(self) -> int:
        return hash((self.functions.generated.text, self.system))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Compiled):
            return NotImplemented
        return self._hash == other._hash and self.functions == other.functions and self.system == other.system

    @cached_property
    def positions(self) -> dict[str, tuple[str, int]]:
        """By name: what a symbol is, and where it stands."""
        return {
            **{s.name: ("observed", i) for i, s in enumerate(self.programs.observed)},
            **{s.name: ("parameter", i) for i, s in enumerate(self.system.params)},
            **{s.name: ("state", i) for i, s in enumerate(self.system.states)},
        }


class Model(eqx.Module):
    """A compiled model: a PyTree whose array leaves are its values; made by `compile`.

    - `values`: the parameters' values, shape (parameters,), in the order of `model.parameters`.
    - `start`: initial values, shape (states,), in the order of `model.states`; used where `given` says so, computed from the parameters elsewhere.

    Gradients with respect to a model (`eqx.filter_grad`) are models, whose `model[a]` is the derivative with respect to `a`.
    """

    values: Array
    start: Array
    compiled: Compiled = eqx.field(static=True)
    given: tuple[bool, ...] = eqx.field(static=True)

    @property
    def system(self) -> System:
        """The system after all passes."""
        return self.compiled.system

    @property
    def states(self) -> tuple[State, ...]:
        """The states in the order of the state vector."""
        return self.system.states

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters in the order of `args`."""
        return self.system.params

    @property
    def observed(self) -> tuple[ModelSymbol, ...]:
        """Quantities that are computed from the solution: declared as observed, or eliminated by the compiler."""
        return self.compiled.programs.observed

    @property
    def source(self) -> str:
        """The generated code: a module that needs nothing but jax."""
        return self.generated.text

    @property
    def generated(self) -> codegen.Generated:
        return self.functions.generated

    @property
    def functions(self) -> codegen.Functions:
        return self.compiled.functions

    @property
    def kind(self) -> str:
        assert self.system.structure is not None
        return self.system.structure.kind

    def rhs(self, t: Any, y: Any, args: Any = None) -> Any:
        """The right-hand sides at a point.

        Arguments:

        - `t`: the time, a scalar.
        - `y`: the states, shape (states,).
        - `args`: the parameters, shape (parameters,); default the model's own.

        Returns the derivatives of the states (residuals for algebraic states), shape (states,).
        """
        return self.functions.rhs(t, jnp.asarray(y), self.values if args is None else args)

    def jac(self, t: Any, y: Any, args: Any = None) -> Array:
        """The analytic Jacobian of `rhs` with respect to the states, shape (states, states); arguments as in `rhs`."""
        return self.functions.jacobian_dense(t, jnp.asarray(y), self.values if args is None else args)

    def replace(self, values: Mapping[Any, Any] | None = None, /, **by_name: Any) -> Model:
        """A model with other values; never recompiles, and works under `jax.jit`, `jax.vmap` and `jax.grad`.

        Arguments:

        - `values`: new values by symbol or name: `{a: 2.0, "x": 0.5}`; parameters, and initial values of states (`D(x)` for that of a derivative).
        - `by_name`: the same as keywords: `model.replace(a=2.0)`.

        Raises `ModelError` for a name that the model does not have, an eliminated state, or a value that is not a scalar.
        """
        new, start, given = self.values, self.start, list(self.given)
        for name, value in {**(values or {}), **by_name}.items():
            kind, i = self.position(name)
            if kind == "observed":
                raise ModelError(
                    f"`{_text(name)}` follows from the equations and has no value of its own.",
                    where=self.system.observed[i].located,
                    remedy="replace the states and parameters that it is computed from",
                )
            scalar = _scalar(value, _text(name), self.values.dtype)
            if kind == "parameter":
                new = new.at[i].set(scalar)
            else:
                start, given[i] = start.at[i].set(scalar), True
        return dataclasses.replace(self, values=new, start=start, given=tuple(given))

    def position(self, name: Any) -> tuple[str, int]:
        """What a symbol or name is (`"state"`, `"parameter"` or `"observed"`), and its position among those."""
        if isinstance(name, TimeDerivative):
            name = self._lowered(name)
        text = _text(name)
        found = self.compiled.positions.get(text)
        if found is None:
            close = difflib.get_close_matches(text, self.compiled.positions, n=3, cutoff=0.5)
            known = [s.name for s in (*self.states, *self.parameters)]
            shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise ModelError(
                f"`{self.system.name}` has no symbol `{text}`.",
                remedy=f"did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else f"it has {shown}",
            )
        return found

    def __getitem__(self, name: Any) -> Array:
        """The value of a parameter, or the initial value of a state, by symbol or name."""
        kind, i = self.position(name)
        if kind == "observed":
            raise ModelError(f"`{_text(name)}` has no value of its own.", remedy="solve the model and look it up in the solution")
        return self.values[i] if kind == "parameter" else self.initial_state()[i]

    def initial_state(self) -> Array:
        """The initial values, shape (states,): those given, and those that follow from the parameters."""
        if all(self.given):
            return self.start
        computed = self.functions.initial(tuple(self.values))
        values = [self.start[i] if given else computed[i] for i, given in enumerate(self.given)]
        return jnp.stack([jnp.asarray(v, self.values.dtype) for v in values])

    @property
    def missing_initial(self) -> tuple[State, ...]:
        """Differential states that have no initial value."""
        mass = self.generated.mass
        kinds = zip(self.states, self.generated.initial_kinds, self.given, mass, strict=True)
        return tuple(s for s, kind, given, m in kinds if m and kind == "missing" and not given)

    def evaluate(self, quantities: Sequence[Any], ts: Any, ys: Any) -> list[Array]:
        """Values of quantities along a trajectory.

        Arguments:

        - `quantities`: symbols, names, or expressions of states, parameters, observed quantities, `D(x)` and `t`.
        - `ts`, `ys`: times, shape (times,), and states, shape (times, states).

        Returns one array of shape (times,) a quantity.
        """
        ts, ys = jnp.asarray(ts), jnp.asarray(ys)
        results: list[Array | None] = [None] * len(quantities)
        rest: list[int] = []
        expressions: list[sp.Expr] = []
        for k, quantity in enumerate(quantities):
            expression = self._expression(quantity)
            if isinstance(expression, State) and self.position(expression)[0] == "state":
                results[k] = ys[..., self.position(expression)[1]]
            else:
                rest.append(k)
                expressions.append(expression)
        if rest:
            function = _evaluator(self.compiled, tuple(expressions))
            for k, value in zip(rest, function(ts, ys, self.values), strict=True):
                results[k] = value
        return results  # pyright: ignore[reportReturnType]

    def constant(self, value: Any, role: str) -> Any:
        """A number as it is, and an expression in parameters by the model's values."""
        if not isinstance(value, sp.Basic):
            return value
        expression = self._expression(value)
        for symbol in sorted(expression.free_symbols, key=str):
            if not isinstance(symbol, Parameter):
                raise ModelError(f"{role} = {value} contains `{symbol}`, which is not a parameter.")
        y = jnp.zeros((1, len(self.states)), self.values.dtype)
        return _evaluator(self.compiled, (expression,))(jnp.zeros(1, self.values.dtype), y, self.values)[0][0]

    def slopes(self, ts: Any, ys: Any) -> np.ndarray:
        """The right-hand sides along a trajectory, shape (times, states), on the host."""
        functions = codegen.host_functions(self.generated)
        ts, ys = np.asarray(ts), np.asarray(ys)
        if functions is None:
            return np.asarray(jax.vmap(self.rhs)(jnp.asarray(ts), jnp.asarray(ys)))
        with np.errstate(all="ignore"):
            values = functions["rhs"](ts, tuple(np.moveaxis(ys, -1, 0)), tuple(np.asarray(self.values)))
        return np.stack([np.broadcast_to(v, ts.shape) for v in values], axis=-1)

    def fastest_time_scale(self, t: float, y: Any) -> float:
        """1 over the spectral radius of the Jacobian at a point; infinite where that is zero or not finite."""
        jacobian = self._jacobian_on_host(t, np.asarray(y), np.asarray(self.values))
        if not np.isfinite(jacobian).all():
            return float("inf")
        radius = float(np.max(np.abs(np.linalg.eigvals(jacobian)), initial=0.0))
        return float("inf") if radius == 0 else 1 / radius

    def declared_start(self, t0: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Jacobian, slope and state at the start by the declared values, whatever the present ones: they never change with tracing."""
        return _declared_start(self.compiled, t0)

    def _jacobian_on_host(self, t: float, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        return _jacobian_on_host(self.functions, t, y, p)

    def _expression(self, quantity: Any) -> sp.Expr:
        """A quantity as an expression of symbols that the final system has."""
        if isinstance(quantity, str):
            if quantity == "t":
                return t
            kind, i = self.position(quantity)
            return {"state": self.states, "parameter": self.parameters, "observed": self.observed}[kind][i]
        if isinstance(quantity, int | float) and not isinstance(quantity, bool):
            quantity = sp.Float(quantity)
        if isinstance(quantity, Equation):
            raise ModelError(f"An equation is no quantity: {quantity}.", remedy="give one of its sides, or their difference")
        if not isinstance(quantity, sp.Expr):
            raise ModelError(
                f"{quantity!r} is no quantity of `{self.system.name}`.", remedy="give a symbol, its name, or an expression of symbols"
            )
        return quantity.xreplace({s: self._known(s) for s in sorted(quantity.free_symbols, key=str)})

    def _known(self, symbol: sp.Basic) -> sp.Expr:
        if symbol == t:
            return t
        if isinstance(symbol, TimeDerivative):
            return self._derivative(symbol)
        if not isinstance(symbol, ModelSymbol):
            raise ModelError(
                f"`{symbol}` is a plain SymPy symbol, which no model has.", remedy="use the symbols that the model was declared with"
            )
        kind, i = self.position(symbol)
        return {"state": self.states, "parameter": self.parameters, "observed": self.observed}[kind][i]

    def _lowered(self, derivative: TimeDerivative) -> Any:
        """The state that the compiler introduced for a derivative of a state."""
        value = self._derivative(derivative)
        if isinstance(value, State):
            return value
        raise ModelError(
            f"`{derivative}` follows from the equations and has no value of its own.",
            remedy="only derivatives below the highest one of a state have initial values",
        )

    def _derivative(self, derivative: TimeDerivative) -> sp.Expr:
        """D(x, k) in terms of the final system: its equation, differentiated k - 1 times."""
        rates = {e.lhs: e.rhs for e in self.system.equations if e.lhs != 0}
        observed = {e.lhs: e.rhs for e in self.system.observed}
        kind, i = self.position(derivative.state)
        expression: sp.Expr = self.states[i] if kind == "state" else self.observed[i]
        for k in range(derivative.order):
            expression = total_derivative(_without(observed, expression) if k or kind == "observed" else expression)
            for symbol in sorted(expression.free_symbols, key=str):
                if isinstance(symbol, TimeDerivative) and symbol not in rates:
                    raise ModelError(
                        f"`{symbol}` is the derivative of an algebraic unknown, which the model does not compute.",
                        remedy="write an equation for it",
                    )
            expression = expression.xreplace(rates)
        return expression

    def __str__(self) -> str:
        from symdeq._report import report

        return report(self)

    __repr__ = __str__


def compile(system: System, *, simplify: bool = True, trace: bool = False) -> Model:  # noqa: A001
    """Compile a system: run the passes, generate the code, and hold the declared values.

    Arguments:

    - `system`: the equations.
    - `simplify`: whether right-hand sides may be rewritten to fewer operations; default `True`.
    - `trace`: print the system after each pass; default `False`.

    Returns a `Model`, in the default precision of JAX at this moment: float64 after `jax.config.update("jax_enable_x64", True)`, else float32.
    Raises `ModelError` for a system that cannot be right: an equation missing or one too many, contradicting initial values; and
    `UnsupportedError` for what symdeq does not solve.
    """
    if not isinstance(system, System):
        raise ModelError(f"compile needs a System, not {type(system).__name__}.", remedy="sd.compile(sd.System([Eq(...), ...]))")
    shown = (lambda name, after: print(f"--- after {name}\n{after}")) if trace else None  # noqa: T201
    compiled = _compiled(system, simplify) if shown is None else _compiled.__wrapped__(system, simplify, shown)
    dtype = jnp.result_type(float)
    n = len(compiled.system.states)
    model = Model(
        values=jnp.asarray([p.value for p in compiled.system.params], dtype).reshape(-1),
        start=jnp.zeros(n, dtype),
        compiled=compiled,
        given=(False,) * n,
    )
    _check_eliminated(model)
    return model


@lru_cache(maxsize=256)
def _compiled(system: System, simplify: bool, trace: Any = None) -> Compiled:
    final = passes.run(system, simplified=simplify, trace=trace)
    programs = codegen.lower(final)
    functions = codegen.functions(codegen.load(codegen.emit(programs)))
    return Compiled(declared=system, system=final, programs=programs, functions=functions)


def _check_eliminated(model: Model) -> None:
    """An initial value declared for a state that the compiler eliminated must agree with the equation that replaced it."""
    system = model.system
    given = dict(_flat_initial(model.compiled.declared))
    values = {s: sp.Float(s.value) for s in system.params if np.isfinite(s.value)}
    start: dict[sp.Basic, sp.Expr] = {}
    for state, value in system.initial:
        if value is not None and not isinstance(value, Guess):
            start[state] = value.xreplace(values)
    for equation in system.observed:
        computed = equation.rhs.xreplace(start).xreplace(values)
        if computed.free_symbols:
            continue
        start[equation.lhs] = computed
        declared = given.get(equation.lhs, getattr(equation.lhs, "initial", None))
        if declared is None or isinstance(declared, Guess):
            continue
        expected = declared.xreplace(values)
        if expected.free_symbols:
            continue
        difference = abs(float(expected) - float(computed))
        if difference > 1e-6 * (abs(float(expected)) + abs(float(computed))):
            raise ModelError(
                f"The initial value of `{equation.lhs}` is declared as {float(expected):g}, but the equations make it {float(computed):g}.",
                where=equation.located,
                remedy=f"correct one of the values, or declare `{equation.lhs}` without one (None) or with sd.guess(...)",
            )


def _flat_initial(declared: System) -> tuple:
    return passes.PIPELINE[0](declared).initial


def _text(name: Any) -> str:
    if isinstance(name, sp.Symbol):
        return name.name
    if isinstance(name, str):
        return name
    raise ModelError(f"{name!r} is neither a symbol nor a name.", remedy="use the symbol, or its name as text")


def _scalar(value: Any, name: str, dtype: Any) -> Array:
    try:
        scalar = jnp.asarray(value, dtype)
    except (TypeError, ValueError):
        raise ModelError(f"The value of `{name}` must be a number, not {value!r}.") from None
    if scalar.shape != ():
        raise ModelError(
            f"The value of `{name}` must be one number, but has the shape {scalar.shape}.",
            remedy="batches are jax.vmap(lambda v: sd.solve(model.replace({...: v}), ...))(values)",
        )
    if not isinstance(scalar, jax.core.Tracer) and not bool(jnp.isfinite(scalar)):
        raise ModelError(f"The value of `{name}` must be finite, not {float(scalar)}.")
    return scalar


def _without(observed: Mapping[sp.Basic, sp.Expr], expression: sp.Expr) -> sp.Expr:
    """An expression with the observed quantities in it replaced by what they stand for."""
    while found := expression.free_symbols & observed.keys():
        expression = expression.xreplace({s: observed[s] for s in found})
    return expression


@lru_cache(maxsize=1024)
def _evaluator(compiled: Compiled, expressions: tuple[sp.Expr, ...]) -> Any:
    """A jitted function (ts, ys, p) -> a tuple of arrays."""
    program = codegen.lower_expressions(compiled.system, expressions)
    function = codegen.load_program(codegen.emit_program(program), program.name)

    @jax.jit
    def evaluate(ts: Array, ys: Array, p: Array) -> tuple[Array, ...]:
        columns = tuple(jnp.moveaxis(ys, -1, 0))
        values = function(ts, columns, tuple(p))
        return tuple(jnp.broadcast_to(jnp.asarray(v, ys.dtype), ts.shape) for v in values)

    return evaluate


def _jacobian_on_host(functions: codegen.Functions, t: float, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    on_host = codegen.host_functions(functions.generated)
    if on_host is None:
        return np.asarray(functions.jacobian_dense(t, jnp.asarray(y), jnp.asarray(p)))
    matrix = np.zeros((len(y), len(y)))
    with np.errstate(all="ignore"):
        for (i, j), value in zip(functions.generated.sparsity, on_host["jac"](t, tuple(y), tuple(p)), strict=True):
            matrix[i, j] = value
    return matrix


@lru_cache(maxsize=256)
def _declared_start(compiled: Compiled, t0: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generated = compiled.functions.generated
    p = np.array([s.value for s in compiled.system.params], dtype=float)
    on_host = codegen.host_functions(generated)
    if on_host is None:
        y = np.array([float(v) for v in generated.initial(tuple(p))])
        slope = np.asarray(compiled.functions.rhs(t0, jnp.asarray(y), jnp.asarray(p)), dtype=float)
    else:
        with np.errstate(all="ignore"):
            y = np.array([float(v) for v in on_host["initial"](tuple(p))])
            slope = np.array([float(v) for v in on_host["rhs"](t0, tuple(y), tuple(p))])
    return _jacobian_on_host(compiled.functions, t0, y, p), slope, y

"""`compile`: from a `System` to a `Model`, whose functions are generated code and whose array leaves are its values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jaxtyping import Array

from symdeq import _host, codegen, passes
from symdeq._errors import ModelError
from symdeq._lookup import Compiled, evaluator, replaced, text_of
from symdeq._networks import named
from symdeq._replaced import new_network, new_value
from symdeq.model import Guess, Lagged, ModelSymbol, NetworkValue, Numbers, Parameter, State, System


class Model(eqx.Module):
    """A compiled model: a PyTree whose array leaves are its values; made by `compile`.

    - `values`: the parameters' values, shape (parameters,), in the order of `model.parameters`.
    - `start`: initial values, shape (states,), in the order of `model.states`, a place for each number of a vector;
        used where `given` says so, a flag for each symbol, and computed from the parameters elsewhere.
    - `networks`: the networks, in the order of `model.system.networks`: by name.

    Gradients with respect to a model (`eqx.filter_grad`) are models, whose `model[a]` is the derivative with respect to
    `a`.
    """

    values: Array
    start: Array
    compiled: Compiled = eqx.field(static=True)
    given: tuple[bool, ...] = eqx.field(static=True)
    networks: tuple[Any, ...] = ()

    @property
    def args(self) -> Any:
        """What the generated functions take as parameters: `values`, and the networks with them where there are any."""
        return (self.values, self.networks) if self.generated.networks else self.values

    @property
    def size(self) -> int:
        """The length of the state vector."""
        return sum(self.generated.sizes)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each number of the state vector: `x`, and `h[0]` of a vector."""
        named = zip(self.states, self.generated.sizes, strict=True)
        return tuple(n for s, size in named for n in ([f"{s.name}[{i}]" for i in range(size)] if s.shape else [s.name]))

    def place(self, i: int) -> int | slice:
        """Where state number `i` stands in the state vector."""
        first = sum(self.generated.sizes[:i])
        return slice(first, first + self.states[i].size) if self.states[i].shape else first

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

    def rhs(self, t: Any, y: Any, args: Any = None, past: Any = None) -> Any:
        """The right-hand sides at a point.

        Arguments:

        - `t`: the time, a scalar.
        - `y`: the states, shape (states,).
        - `args`: the parameters, shape (parameters,), in a model with networks the pair of them and the networks;
            default the model's own.
        - `past`: the delayed values, shape (delayed,), in the order of `model.delayed`; for models with delays only.

        Returns the derivatives of the states (residuals for algebraic states), shape (states,).
        """
        return self.functions.rhs(t, jnp.asarray(y), self.args if args is None else args, self._checked_past(past))

    def jac(self, t: Any, y: Any, args: Any = None, past: Any = None) -> Array:
        """The analytic Jacobian of `rhs` with respect to the states, shape (states, states); arguments as in `rhs`.

        Delayed values count as given.
        """
        args = self.args if args is None else args
        return self.functions.jacobian_dense(t, jnp.asarray(y), args, self._checked_past(past))

    @property
    def delayed(self) -> tuple[Lagged, ...]:
        """The delayed values in the equations, such as `x(t - tau)`, in the order of the argument `past`."""
        return tuple(symbol for lag in self.system.delays for symbol in lag.lagged)

    def _checked_past(self, past: Any) -> Array | None:
        count = len(self.generated.delayed)
        if past is None and not count:
            return None
        past = jnp.zeros(0) if past is None else jnp.asarray(past)
        if past.shape != (count,):
            raise ModelError(
                f"`{self.system.name}` needs {count} delayed values, and past has the shape {past.shape}.",
                where=", ".join(map(str, self.delayed)) or None,
                remedy="give past= one number each, in this order" if count else "leave past= out",
            )
        return past

    def replace(self, values: Mapping[Any, Any] | None = None, /, **by_name: Any) -> Model:
        """A model with other values; never recompiles, and works under `jax.jit`, `jax.vmap` and `jax.grad`.

        Arguments:

        - `values`: new values by symbol or name: `{a: 2.0, "x": 0.5}`; parameters, initial values of states (`D(x)` for
            that of a derivative; one number or shape (n,) for a vector), and networks of the same structure.
        - `by_name`: the same as keywords: `model.replace(a=2.0)`.

        Raises `ModelError` for a name that the model does not have, an eliminated state, or a value that is not a
        scalar.
        """
        new, start, given, networks = self.values, self.start, list(self.given), list(self.networks)
        for name, value in {**(values or {}), **by_name}.items():
            kind, i = self.position(name)
            if kind == "observed":
                raise ModelError(
                    f"`{text_of(name)}` follows from the equations and has no value of its own.",
                    where=self.system.observed[i].located,
                    remedy="replace the states and parameters that it is computed from",
                )
            if kind == "network":
                networks[i] = new_network(value, networks[i], text_of(name))
            elif kind == "parameter":
                new = new.at[i].set(new_value(value, text_of(name), self.values.dtype, ()))
            else:
                shape = self.states[i].shape
                start = start.at[self.place(i)].set(new_value(value, text_of(name), self.values.dtype, shape))
                given[i] = True
        return dataclasses.replace(self, values=new, start=start, given=tuple(given), networks=tuple(networks))

    def position(self, name: Any) -> tuple[str, int]:
        """What a symbol or name is, "state", "parameter", "observed" or "network", and its position among those."""
        return self.compiled.position(name)

    def __getitem__(self, name: Any) -> Any:
        """The value of a parameter, an initial value that is a number of its own, or a network, by symbol or name.

        In a gradient with respect to a model it is the derivative with respect to that value. Initial values that
        follow from parameters are none of the model's values: `initial_state` has them.
        """
        kind, i = self.position(name)
        if kind == "parameter":
            return self.values[i]
        if kind == "network":
            return self.networks[i]
        if kind == "observed":
            raise ModelError(
                f"`{text_of(name)}` has no value of its own.", remedy="solve the model and look it up in the solution"
            )
        if not self.given[i]:
            raise ModelError(
                f"The initial value of `{text_of(name)}` follows from parameters, or is missing.",
                remedy="read model.initial_state(), or give it a value by model.replace",
            )
        return self.start[self.place(i)]

    def initial_state(self) -> Array:
        """The initial values, shape (states,): those given, and those that follow from the parameters."""
        if all(self.given):
            return self.start
        given = np.repeat(np.array(self.given), self.generated.sizes)
        return jnp.where(given, self.start, self.functions.initial(self.values))

    @property
    def missing_initial(self) -> tuple[State, ...]:
        """Differential states that have no initial value."""
        assert self.system.structure is not None
        kinds = zip(self.states, self.generated.initial_kinds, self.given, self.system.structure.mass, strict=True)
        return tuple(s for s, kind, given, m in kinds if m and kind == "missing" and not given)

    def evaluate(
        self, quantities: Sequence[Any], ts: Any, ys: Any, past: Callable[[], Any] | None = None
    ) -> list[Array]:
        """Values of quantities along a trajectory.

        Arguments:

        - `quantities`: symbols, names, or expressions of states, parameters, observed quantities, `D(x)` and `t`.
        - `ts`, `ys`: times, shape (times,), and states, shape (times, states).
        - `past`: called for the delayed values along it, shape (times, delayed), if a quantity contains some.

        Returns one array of shape (times,) a quantity, of shape (times, n) for a vector.
        """
        ts, ys = jnp.asarray(ts), jnp.asarray(ys)
        results: list[Array | None] = [None] * len(quantities)
        rest: list[int] = []
        expressions: list[sp.Expr] = []
        for k, quantity in enumerate(quantities):
            expression = self.compiled.expression(quantity)
            if isinstance(expression, State) and self.position(expression)[0] == "state":
                results[k] = ys[..., self.place(self.position(expression)[1])]
            else:
                rest.append(k)
                expressions.append(expression)
        if rest:
            values = evaluator(self.compiled, tuple(expressions))
            if values.needs_past and past is None:
                raise ModelError(
                    f"{', '.join(f'`{quantities[k]}`' for k in rest)} of `{self.system.name}` contains delayed values, "
                    "which single states do not tell.",
                    remedy="look it up in a solution that was solved with saveat=diffrax.SaveAt(ts=..., dense=True)",
                )
            given = (past(),) if values.needs_past and past is not None else ()
            for k, value in zip(rest, values.function(ts, ys, self.args, *given), strict=True):
                results[k] = value
        return results  # pyright: ignore[reportReturnType]

    def columns(
        self, quantities: Sequence[Any], ts: Any, ys: Any, past: Callable[[], Any] | None = None
    ) -> list[tuple[str, np.ndarray]]:
        """Names and values of quantities along a trajectory, each of shape (times,); vectors one number at a time."""
        result: list[tuple[str, np.ndarray]] = []
        for quantity, values in zip(quantities, self.evaluate(quantities, ts, ys, past), strict=True):
            values = np.asarray(values)
            if values.ndim == np.ndim(ts):
                result.append((str(quantity), values))
            else:
                result += [(f"{quantity}[{i}]", values[..., i]) for i in range(values.shape[-1])]
        return result

    def constant(self, value: Any, role: str) -> Any:
        """A number as it is, and an expression in parameters by the model's values."""
        if not isinstance(value, sp.Basic):
            return value
        expression = self.compiled.expression(value)
        for symbol in sorted(expression.free_symbols, key=str):
            if not isinstance(symbol, Parameter):
                raise ModelError(
                    f"{role} = {value} contains `{symbol}`, which is not a parameter.",
                    remedy="use numbers and parameters only",
                )
        y = jnp.zeros((1, self.size), self.values.dtype)
        return evaluator(self.compiled, (expression,)).function(jnp.zeros(1, self.values.dtype), y, self.args)[0][0]

    @property
    def known_everywhere(self) -> tuple[ModelSymbol, ...]:
        """The observed quantities that follow from time, state and parameters, without a look at the past."""
        if not self.system.delays:
            return self.observed
        return tuple(o for o in self.observed if not evaluator(self.compiled, (o,)).needs_past)  # pyright: ignore

    def slopes(self, ts: Any, ys: Any) -> np.ndarray:
        """The right-hand sides along a trajectory, shape (times, states), on the host."""
        return _host.slopes(self.functions, ts, ys, self.args)

    def fastest_time_scale(self, t: float, y: Any) -> float:
        """1 over the spectral radius of the Jacobian at a point; infinite where that is zero or not finite."""
        jacobian = _host.jacobian(self.functions, t, np.asarray(y), self.args)
        if not _host.is_finite(jacobian):
            return float("inf")
        radius = _host.spectral_radius(jacobian)
        return float("inf") if radius == 0 else 1 / radius

    def declared_start(self, t0: float) -> tuple[Any, np.ndarray, np.ndarray]:
        """Jacobian, slope and state at the start by the declared values, so that new values change nothing compiled."""
        return _host.declared_start(self.compiled, t0)

    def __str__(self) -> str:
        from symdeq._report import report

        return report(self)

    __repr__ = __str__


def compile(system: System, *, simplify: bool = True, trace: bool = False) -> Model:
    """Compile a system: run the passes, generate the code, and hold the declared values.

    Arguments:

    - `system`: the equations.
    - `simplify`: whether right-hand sides may be rewritten to fewer operations; default `True`.
    - `trace`: print the system after each pass; default `False`.

    Returns a `Model` in JAX's default precision at this moment: float64 after
    `jax.config.update("jax_enable_x64", True)`, else float32.
    Raises `ModelError` for a system that cannot be right: an equation missing or one too many, contradicting initial
    values; and `UnsupportedError` for what symdeq does not solve.
    """
    if not isinstance(system, System):
        raise ModelError(
            f"compile needs a System, not {type(system).__name__}.", remedy="sd.compile(sd.System([Eq(...), ...]))"
        )
    shown = (lambda name, after: print(f"--- after {name}\n{after}")) if trace else None
    known, modules = named(system)
    compiled = _compiled(known, simplify) if shown is None else _compiled.__wrapped__(known, simplify, shown)
    dtype = jnp.result_type(float)
    numbers = [_number(value) for _, value in compiled.system.initial]
    sizes = compiled.functions.generated.sizes
    start = [np.broadcast_to(np.array(0.0 if v is None else v), n) for v, n in zip(numbers, sizes, strict=True)]
    with jax.ensure_compile_time_eval():  # the declared values are known, also where compile is called while tracing
        model = Model(
            values=jnp.asarray([p.value for p in compiled.system.params], dtype).reshape(-1),
            start=jnp.asarray(np.concatenate([np.zeros(0), *start]), dtype),
            compiled=compiled,
            given=tuple(v is not None for v in numbers),
            networks=tuple(modules[network.name] for network in compiled.system.networks),
        )
    _check_eliminated(model)
    return model


def _number(initial: sp.Expr | Guess | None) -> Any:
    """An initial value or guess that depends on no parameter: a number, or the numbers of a vector."""
    expression = initial.value if isinstance(initial, Guess) else initial
    if expression is None or expression.free_symbols:
        return None
    if isinstance(expression, Numbers):
        return [float(v) for v in expression.args]  # pyright: ignore[reportArgumentType]
    return float(expression)


@lru_cache(maxsize=256)
def _compiled(system: System, simplify: bool, trace: Any = None) -> Compiled:
    final = passes.run(system, simplified=simplify, trace=trace)
    programs = codegen.lower(final)
    functions = codegen.functions(codegen.load(codegen.emit(programs)))
    return Compiled(declared=system, system=final, programs=programs, functions=functions)


def _check_eliminated(model: Model) -> None:
    """An initial value declared for an eliminated state must agree with the equation that replaced it."""
    system = model.system
    given = dict(_flat_initial(model.compiled.declared))
    values: dict[sp.Basic, sp.Basic] = {s: sp.Float(s.value) for s in system.params if np.isfinite(s.value)}
    start: dict[sp.Basic, sp.Expr] = {}
    for state, value in system.initial:
        if value is not None and not isinstance(value, Guess) and not isinstance(value, Numbers):
            start[state] = replaced(value, values)
    for equation in system.observed:
        computed = replaced(replaced(equation.rhs, start), values)
        if computed.free_symbols or computed.has(NetworkValue):
            continue
        start[equation.lhs] = computed
        declared = given.get(equation.lhs, getattr(equation.lhs, "initial", None))
        if declared is None or isinstance(declared, Guess) or declared.xreplace(values).free_symbols:
            continue
        name, said, found = equation.lhs, float(replaced(declared, values)), float(computed)
        if abs(said - found) > 1e-6 * (abs(said) + abs(found)):
            raise ModelError(
                f"The initial value of `{name}` is declared as {said:g}, but the equations make it {found:g}.",
                where=equation.located,
                remedy=f"correct one of the values, or declare `{name}` without one (None) or with sd.guess(...)",
            )


def _flat_initial(declared: System) -> tuple:
    return passes.PIPELINE[0](declared).initial

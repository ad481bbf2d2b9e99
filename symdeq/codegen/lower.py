"""`System` to Programs: what is computed, before it is text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError, VerificationError
from symdeq.codegen.cse import share
from symdeq.codegen.derivatives import differentiate
from symdeq.codegen.guards import guard
from symdeq.codegen.linear import linear_programs
from symdeq.codegen.networks import with_calls
from symdeq.codegen.program import (
    Argument,
    Assignment,
    Comment,
    Program,
    Programs,
    Statement,
    verify,
    without_dead,
)
from symdeq.codegen.vectorise import vectorise
from symdeq.model import Guess, Lagged, Stage, System, TimeDerivative, shape_of, t
from symdeq.passes.noise_kind import correction

# Operations of right-hand side and Jacobian up to which straight-line code over scalars compiles in a second or two.
MOST_SCALAR_OPERATIONS = 1000


def lower(system: System) -> Programs:
    """All Programs of a system: right-hand side, derivatives, linear algebra, observed quantities, initial values.

    Arguments:

    - `system`: at `Stage.ANALYSED`.

    Returns `Programs`, each verified. Raises `UnsupportedError` naming an equation whose derivative JAX cannot compute.
    """
    _check_analysed(system)
    structure = system.structure
    assert structure is not None
    flow = _Flow(system)
    observed = tuple(e.lhs for e in system.observed)
    if any(map(shape_of, (*system.states, *observed))):
        return _arrays(system, flow)
    variables = (*system.states, *system.params, t)
    body, found = differentiate(flow.body, flow.targets, variables, flow.guards)
    n, m = len(system.states), len(system.params)
    jacobian = {(i, k): e for (i, k), e in found.items() if k < n}
    by_params = {(i, k - n): e for (i, k), e in found.items() if n <= k < n + m}
    by_time = {i: e for (i, k), e in found.items() if k == n + m}
    _check_structure(system, jacobian, by_time)

    names = tuple(s.name for s in system.states)
    parameter_sparsity = tuple(sorted(by_params))
    functions = [
        flow.program("rhs", "The right-hand sides.", flow.body, flow.targets),
        flow.program(
            "jac",
            "The non-zeros of the Jacobian with respect to the states, in the order of SPARSITY.",
            *_valued(body, [(f"J({names[i]},{names[k]})", jacobian.get((i, k), 0)) for i, k in structure.sparsity]),
        ),
        flow.program(
            "jac_params",
            "The non-zeros of the Jacobian with respect to the parameters, in the order of PARAMETER_SPARSITY.",
            *_valued(body, [(f"J({names[i]},{system.params[k]})", by_params[i, k]) for i, k in parameter_sparsity]),
        ),
    ]
    if not structure.autonomous:
        derivatives = [(f"df({name})/dt", by_time.get(i, 0)) for i, name in enumerate(names)]
        functions.append(
            flow.program("dfdt", "The partial derivatives with respect to time.", *_valued(body, derivatives))
        )
    functions.append(flow.program("observed", "The observed quantities.", flow.body, observed))
    functions.extend(_noise(system))
    functions.extend(_delays(system))
    initial, kinds = _initial(system)
    functions.append(initial)
    many = functions[0].operations + functions[1].operations > MOST_SCALAR_OPERATIONS
    vectorised = many and not system.networks
    functions = [(vectorise if vectorised else share)(program) for program in functions]
    if not vectorised:
        functions.extend(linear_programs(names, structure.sparsity, factorised=structure.kind == "ode"))
    for program in functions:
        verify(program)
    return Programs(
        name=system.name,
        states=system.states,
        parameters=system.params,
        observed=observed,  # pyright: ignore[reportArgumentType]
        mass=structure.mass,
        sparsity=structure.sparsity,
        parameter_sparsity=parameter_sparsity,
        initial=kinds,
        functions=tuple(functions),
        vectorised=vectorised,
        networks=_names_of(system),
        **_slots(system),
    )


def _arrays(system: System, flow: _Flow) -> Programs:
    """Programs of a system with vectors: right-hand side, observed quantities and initial values, on arrays.

    Derivatives of such systems are left to JAX, which keeps vectors whole as well.
    """
    assert system.structure is not None
    if system.structure.kind == "dae":
        raise UnsupportedError(
            f"System `{system.name}` has vectors as states, and equations that determine unknowns only implicitly.",
            where="\n".join(e.located for e in system.equations if e.lhs == 0),
            remedy="solve them for their unknowns, or write the vectors as single states",
        )
    if system.noise or system.jumps:
        raise UnsupportedError(
            f"System `{system.name}` has vectors as states, and noise.",
            remedy="write the vectors as single states, or use sd.NeuralSDE",
        )
    sizes = tuple(state.size for state in system.states)
    initial, kinds = _initial(system)
    observed = tuple(e.lhs for e in system.observed)
    functions = [
        replace(flow.program("rhs", "The right-hand sides.", flow.body, flow.targets), sizes=sizes),
        flow.program("observed", "The observed quantities.", flow.body, observed),
        replace(initial, sizes=sizes),
        *(replace(p, sizes=sizes) if p.name == "history" else p for p in _delays(system)),
    ]
    functions = [share(program) for program in functions]
    for program in functions:
        verify(program)
    return Programs(
        name=system.name,
        states=system.states,
        parameters=system.params,
        observed=observed,  # pyright: ignore[reportArgumentType]
        mass=tuple(m for m, size in zip(system.structure.mass, sizes, strict=True) for _ in range(size)),
        sparsity=(),
        parameter_sparsity=(),
        initial=kinds,
        functions=tuple(functions),
        vectorised=True,
        networks=_names_of(system),
        **_slots(system),
    )


def _noise(system: System) -> list[Program]:
    """The coefficients of the Brownian motions, and the difference of the two calculi where it is not zero."""
    if not system.noise:
        return _jumps(system)
    flow = _Flow(system, tuple(value for noise in system.noise for _, value in noise.entries))
    summary = "The coefficients of the Brownian motions, one motion after the other."
    programs = [flow.program("diffusion", summary, flow.body, flow.extras)]
    assert system.structure is not None
    difference = correction(system) if system.structure.noise != "additive" else None
    if difference is not None and any(difference):
        flow = _Flow(system, difference)
        summary = "Itô's drift less that of Stratonovich."
        programs.append(flow.program("correction", summary, flow.body, flow.extras))
    return [*programs, *_jumps(system)]


def _jumps(system: System) -> list[Program]:
    """The rates of the Poisson processes, and by how much their jumps change states."""
    if not system.jumps:
        return []
    rates = _Flow(system, tuple(jump.rate for jump in system.jumps))
    sizes = _Flow(system, tuple(value for jump in system.jumps for _, value in jump.entries))
    summary = "What a jump adds to states, one process after the other."
    jumps = sizes.program("jumps", summary, sizes.body, sizes.extras)
    marks = tuple(mark for jump in system.jumps for mark in jump.marks)
    return [
        rates.program("rates", "How often the processes jump.", rates.body, rates.extras),
        replace(jumps, inputs=(*jumps.inputs, ("marks", marks))),
    ]


def _lagged(system: System) -> tuple[Lagged, ...]:
    """The delayed values in the order of the argument `past`: lag by lag."""
    return tuple(symbol for lag in system.delays for symbol in lag.lagged)


def _slots(system: System) -> dict[str, Any]:
    """Where the numbers of `past` are found: the lag, and the place in the state vector; and what is known of both."""
    assert system.structure is not None
    first = dict(zip(system.states, itertools.accumulate((s.size for s in system.states), initial=0), strict=False))
    return {
        "delayed": tuple(
            (i, first[symbol.state] + k)
            for i, lag in enumerate(system.delays)
            for symbol in lag.lagged
            for k in range(symbol.size)
        ),
        "lags": system.structure.lags,
        "history": tuple("given" if s in {e.lhs for e in system.history} else "missing" for s in system.states)
        if system.delays
        else (),
    }


def _delays(system: System) -> list[Program]:
    """How far the equations look back, and what was before the start."""
    if not system.delays:
        return []
    flow = _Flow(system, tuple(lag.expression for lag in system.delays))
    lags = flow.program("lags", "How far back the delayed values are looked up.", flow.body, flow.extras)
    given = {e.lhs: e.rhs for e in system.history}
    summary = "The states before the start, 0 where HISTORY says that they were not given."
    named = [Assignment(_symbol(f"{s}(before)"), given.get(s, sp.Integer(0))) for s in system.states]
    body, _ = guard(with_calls(named))
    inputs = tuple(part for part in flow.inputs if part[0] not in ("y", "past"))
    outputs = tuple(line.target for line in named)
    history = Program(name="history", summary=summary, inputs=inputs, body=body, outputs=outputs)
    return [replace(lags, inputs=tuple(part for part in lags.inputs if part[0] != "past")), history]


def _names_of(system: System) -> tuple[str, ...]:
    return tuple(network.name for network in system.networks)


def lower_expressions(system: System, expressions: Iterable[sp.Expr], name: str = "evaluate") -> Program:
    """A Program `name(t, y, p)` for expressions of states, parameters, `t`, observed quantities, and derivatives of
    states.

    Arguments:

    - `system`: at `Stage.ANALYSED`.
    - `expressions`: SymPy expressions, in the order of the outputs.

    Raises `ModelError` for a symbol that the system does not have.
    """
    _check_analysed(system)
    flow = _Flow(system, tuple(expressions))
    program = share(flow.program(name, "The expressions asked for.", flow.body, flow.extras))
    if not set(_lagged(system)) & {*program.outputs}.union(*(line.needs for line in program.body)):
        program = replace(program, inputs=tuple(part for part in program.inputs if part[0] != "past"))
    verify(program)
    return program


class _Flow:
    """Observed quantities and right-hand sides as guarded straight-line code."""

    def __init__(self, system: System, extras: tuple[sp.Expr, ...] = ()):
        self.system = system
        self.inputs: tuple[Argument, ...] = (("t", t), ("y", system.states), ("p", system.params))
        if system.networks:
            self.inputs += (("networks", tuple(map(_symbol, _names_of(system)))),)
        if system.delays:
            self.inputs += (("past", _lagged(system)),)
        self.targets = tuple(
            _symbol(f"D({state})" if equation.lhs != 0 else f"residual({state})")
            for state, equation in zip(system.states, system.equations, strict=True)
        )
        lines = [Assignment(e.lhs, e.rhs, Comment(e)) for e in system.observed]  # pyright: ignore[reportArgumentType]
        lines += [Assignment(s, e.rhs, Comment(e)) for s, e in zip(self.targets, system.equations, strict=True)]
        self.extras = tuple(_symbol(f"value{i}") for i in range(len(extras)))
        rates = {e.lhs: s for s, e in zip(self.targets, system.equations, strict=True) if e.lhs != 0}
        rates = {d: s for d, s in rates.items() if d not in {line.target for line in lines}}
        for symbol, expression in zip(self.extras, extras, strict=True):
            expression = sp.sympify(expression.xreplace(rates), strict=True)
            marks = (mark for jump in system.jumps for mark in jump.marks)
            known = {t, *system.states, *system.params, *_lagged(system), *marks, *(line.target for line in lines)}
            _check_known(expression, known, system)
            lines.append(Assignment(symbol, expression))
        self.body, self.guards = guard(with_calls(lines))

    def program(self, name: str, summary: str, body: tuple[Statement, ...], outputs: tuple[sp.Basic, ...]) -> Program:
        body = without_dead(body, outputs)
        return Program(name=name, summary=summary, inputs=self.inputs, body=body, outputs=outputs)


def _valued(
    body: tuple[Statement, ...], values: list[tuple[str, sp.Expr | int]]
) -> tuple[tuple[Statement, ...], tuple[sp.Basic, ...]]:
    """The body with an assignment for each value that is not a symbol or a number already, and the outputs."""
    lines, outputs = list(body), []
    for name, value in values:
        expression = sp.sympify(value, strict=True)
        if not isinstance(expression, sp.Symbol | sp.Number):
            line = Assignment(_symbol(name), expression)
            lines.append(line)
            expression = line.target
        outputs.append(expression)
    return tuple(lines), tuple(outputs)


def _initial(system: System) -> tuple[Program, tuple[str, ...]]:
    given = dict(system.initial)
    kinds: list[str] = []
    values: list[tuple[str, sp.Expr | int]] = []
    for state in system.states:
        value = given.get(state)
        kinds.append("missing" if value is None else "guess" if isinstance(value, Guess) else "given")
        expression = value.value if isinstance(value, Guess) else value
        values.append((f"{state}(t0)", 0 if expression is None else expression))
    body, outputs = _valued((), values)
    guarded, _ = guard(body)  # pyright: ignore[reportArgumentType]
    program = Program(
        name="initial",
        summary="Initial values and guesses, 0 where INITIAL says that there is none.",
        inputs=(("p", system.params),),
        body=guarded,
        outputs=outputs,
    )
    return program, tuple(kinds)


def _symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


def _check_analysed(system: System) -> None:
    if system.stage < Stage.ANALYSED or system.structure is None:
        raise VerificationError(f"System `{system.name}` is at stage {system.stage.name}; code needs it at ANALYSED.")
    if not len(system.equations) == len(system.states) == len(system.structure.mass):
        raise VerificationError(
            f"System `{system.name}` has {len(system.states)} states, {len(system.equations)} equations "
            f"and a mass matrix of {len(system.structure.mass)}."
        )


def _check_structure(
    system: System, jacobian: Mapping[tuple[int, int], sp.Expr], by_time: Mapping[int, sp.Expr]
) -> None:
    assert system.structure is not None
    for i, k in sorted(jacobian.keys() - set(system.structure.sparsity)):
        raise VerificationError(
            f"The structure of system `{system.name}` lacks the entry ({i}, {k}): "
            f"`{system.equations[i]}` depends on `{system.states[k]}`."
        )
    for i in sorted(by_time) if system.structure.autonomous else ():
        raise VerificationError(
            f"System `{system.name}` is marked as autonomous, but `{system.equations[i]}` depends on t."
        )


def _check_known(expression: sp.Basic, known: set, system: System) -> None:
    for symbol in sorted(expression.free_symbols - known, key=str):
        what = "derivative" if isinstance(symbol, TimeDerivative) else "symbol"
        raise ModelError(
            f"The {what} `{symbol}` in `{expression}` is not part of the model `{system.name}`.",
            remedy="use the model's states, parameters and observed quantities, and `t`",
        )

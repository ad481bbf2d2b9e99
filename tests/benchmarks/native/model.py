"""The equations of a model as straight-line C: right-hand side, Jacobian, time derivative, factorisation and solve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.printing.c import C99CodePrinter

# Above so many states the symbolic expressions are printed as they are, and the C compiler shares what they share.
_SHARED_UP_TO = 64

_Lines = Iterable[tuple[sp.Symbol, sp.Basic]]


@dataclass(frozen=True, kw_only=True)
class CModel:
    """C code of one model.

    Arguments:
        text: macros N, NP, NNZ, the arrays ROW and COL, and the functions rhs, jac, dfdt, factorise and solve
        states, parameters: names in the order of the vectors
        bands: lower and upper bandwidth of the Jacobian
        sparse: whether factorise and solve are straight-line code for this pattern; banded elimination otherwise
    """

    text: str
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    bands: tuple[int, int]
    sparse: bool


def c_model(system: Any, order: Sequence[str]) -> CModel:
    """The C code of a symdeq system without algebraic equations.

    What symdeq generates as programs of scalars is taken over (with its shared subexpressions and its elimination
    order), so that the C programs do the same arithmetic. A large system is taken as it was written, where each
    equation gives one derivative, so that it owes nothing to symdeq's compiler.

    Arguments:
        order: names of all states; the vectors' order, on which the bandwidth depends
    """
    import symdeq as sd

    model = None if len(system.states) > _SHARED_UP_TO and _explicit(system) else sd.compile(system)
    final = system if model is None else model.system
    place = {state: order.index(state.name) for state in final.states}
    right = _right_sides(final, place)
    entries = {(i, place[s]) for i, f in enumerate(right) for s in f.free_symbols & place.keys()}
    if model is None:
        sparsity, program = tuple(sorted(entries)), {}
    else:
        assert final.structure is not None
        to = [place[state] for state in final.states]
        sparsity = tuple((to[i], to[k]) for i, k in final.structure.sparsity)
        program = _scalar_programs(model.compiled.programs, len(right), sparsity)
    lower, upper = (max([0, *(sign * (i - k) for i, k in sparsity)]) for sign in (1, -1))
    sparse = "factorise" in program
    autonomous = not any(sd.t in f.free_symbols for f in right)
    parts = [
        f"#define N {len(right)}\n#define NP {max(len(final.params), 1)}\n#define NNZ {len(sparsity)}",
        f"#define ML {lower}\n#define MU {upper}\n#define AUTONOMOUS {int(autonomous)}",
        _indices("ROW", [i for i, _ in sparsity]),
        _indices("COL", [k for _, k in sparsity]),
        _HELPERS,
        *_equations(_Context(place, final.params, right, sparsity, program)),
        *(_elimination(program, list(place.values())) if sparse else ()),
    ]
    return CModel(
        text="\n".join(parts),
        states=tuple(order),
        parameters=tuple(p.name for p in final.params),
        bands=(lower, upper),
        sparse=sparse,
    )


def _explicit(system: Any) -> bool:
    """Whether each equation is D(x) = ... for one of the states, and there is nothing else."""
    import symdeq as sd

    return {e.lhs for e in system.equations} == {sd.D(state) for state in system.states} and not system.observed


@dataclass(frozen=True)
class _Context:
    """Everything that the equations' C code is made from; `place` is each state's position in the vectors."""

    place: Mapping[Any, int]
    params: tuple
    right: list[sp.Expr]
    sparsity: tuple[tuple[int, int], ...]
    programs: dict[str, Any]


_HELPERS = """
static inline double power2(double x) { return x * x; }
static inline double power3(double x) { return x * x * x; }
static inline double power4(double x) { return power2(x * x); }
"""


def _indices(name: str, values: Sequence[int]) -> str:
    return f"static const int {name}[NNZ + 1] = {{{', '.join(map(str, [*values, 0]))}}};"


def _scalar_programs(programs: Any, n: int, sparsity: tuple) -> dict[str, Any]:
    """symdeq's programs by name, where all of them are single assignments of scalars."""
    from symdeq.codegen import Assignment

    small = n <= _SHARED_UP_TO
    found = {p.name: p for p in programs.functions if small and all(isinstance(line, Assignment) for line in p.body)}
    if not {"rhs", "jac"} <= found.keys() or len(found["jac"].outputs) != len(sparsity):
        return {}
    if not {"factorise", "solve"} <= found.keys():
        found = {name: p for name, p in found.items() if name not in ("factorise", "solve")}
    return found


class _Printer(C99CodePrinter):
    """SymPy's printer, with identifiers of its own and small powers as products."""

    def __init__(self, names: dict[sp.Basic, str]):
        super().__init__()
        self.names = names

    def _print_Symbol(self, expr):
        return self.names[expr]

    def _print_Pow(self, expr):
        if expr.exp in (2, 3, 4):
            return f"power{expr.exp}({self._print(expr.base)})"
        if expr.exp in (-2, -3, -4):
            return f"1.0/power{-expr.exp}({self._print(expr.base)})"
        return super()._print_Pow(expr)


def _function(name: str, arguments: str, known: dict[sp.Basic, str], body: _Lines, outputs: Sequence[Any]) -> str:
    """A C function that does the assignments in order and writes the outputs to `out`."""
    names = dict(known)
    printer = _Printer(names)
    lines = []
    for count, (target, expression) in enumerate(body):
        lines.append(f"    const double w{count} = {printer.doprint(expression)};")
        names[target] = f"w{count}"
    lines += [f"    out[{i}] = {printer.doprint(sp.sympify(value, strict=True))};" for i, value in enumerate(outputs)]
    return f"static void {name}({arguments}, double *restrict out)\n{{\n" + "\n".join(lines) + "\n}"


def _equations(context: _Context) -> list[str]:
    import symdeq as sd

    place, right, programs = context.place, context.right, context.programs
    known: dict[sp.Basic, str] = {sd.t: "t"}
    known |= {s: f"y[{i}]" for s, i in place.items()}
    known |= {p: f"p[{i}]" for i, p in enumerate(context.params)}
    arguments = "double t, const double *restrict y, const double *restrict p"
    state = {i: s for s, i in place.items()}
    made: dict[str, tuple[_Lines, Sequence[Any]]] = {
        "rhs": ((), right),
        "jac": ((), [right[i].diff(state[k]) for i, k in context.sparsity] if "jac" not in programs else ()),
        "dfdt": ((), [f.diff(sd.t) if sd.t in f.free_symbols else 0 for f in right]),
    }
    for name in made.keys() & programs.keys():
        outputs = programs[name].outputs
        in_order = outputs if name == "jac" else _moved(outputs, list(place.values()))
        made[name] = ([(line.target, line.expression) for line in programs[name].body], in_order)
    return [_function(name, arguments, known, *made[name]) for name in ("rhs", "jac", "dfdt")]


def _moved(values: Sequence[Any], to: Sequence[int]) -> list[Any]:
    """The values, the i-th of them at `to[i]`."""
    return [value for _, value in sorted(zip(to, values, strict=True), key=lambda pair: pair[0])]


def _right_sides(system: Any, place: Mapping[Any, int]) -> list[sp.Expr]:
    """The right-hand sides in states and parameters alone, in the order of the vectors."""
    import symdeq as sd

    observed: dict[sp.Basic, sp.Basic] = {}
    for equation in system.observed:
        observed[equation.lhs] = equation.rhs.xreplace(observed)
    rhs = {equation.lhs: equation.rhs.xreplace(observed) for equation in system.equations}
    return _moved([rhs[sd.D(state)] for state in place], list(place.values()))


def _elimination(programs: dict[str, Any], to: Sequence[int]) -> list[str]:
    factorise, solve = programs["factorise"], programs["solve"]
    (_, entries), (_, shift) = factorise.inputs
    (_, factors), (_, b) = solve.inputs
    known: dict[sp.Basic, str] = {shift: "shift", **{s: f"j[{i}]" for i, s in enumerate(entries)}}
    lines = [(line.target, line.expression) for line in factorise.body]
    substitution: dict[sp.Basic, str] = {s: f"lu[{i}]" for i, s in enumerate(factors)}
    substitution |= {s: f"b[{i}]" for i, s in zip(to, b, strict=True)}
    body, outputs = [(line.target, line.expression) for line in solve.body], _moved(solve.outputs, to)
    return [
        f"#define FACTORS {len(factors)}",
        _function("factorise", "const double *restrict j, double shift", known, lines, factorise.outputs),
        _function("solve", "const double *restrict lu, const double *restrict b", substitution, body, outputs),
    ]

"""The step of a method as C with its coefficients written in, and around it the loop of `loop.c`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .model import CModel

_HERE = Path(__file__).resolve().parent


def loop(model: CModel, stiff: bool) -> str:
    """The whole program: Tsit5, or Rodas5P with the analytic Jacobian, by the tableaus that symdeq uses."""
    from symdeq.solvers import RODAS5P, TSIT5

    step = _rosenbrock(RODAS5P) if stiff else _explicit(TSIT5)
    banded = (_HERE / "banded.c").read_text() if stiff and not model.sparse else ""
    return "\n".join([(_HERE / "prelude.c").read_text(), model.text, banded, step, (_HERE / "loop.c").read_text()])


def _sum(coefficients: Sequence[float], source: str = "u") -> str:
    return " + ".join(f"{c!r} * {source}[{m}][i]" for m, c in enumerate(coefficients) if c != 0) or "0.0"


def _each(target: str, value: str) -> str:
    return f"    for (int i = 0; i < N; i++) {target}[i] = {value};"


def _frame(stages: int, order: int, dense: Sequence[Sequence[float]], scale: str, body: Sequence[str]) -> str:
    """`step` and `interpolate`; the stages stay in `u` until the next step."""
    head = [
        f"#define STAGES {stages}\n#define ERROR_ORDER {order}\n#define DENSE {len(dense)}",
        "static _Thread_local double u[STAGES][N], q[DENSE][N];",
        "static void step(double t, double h, const double *y, const double *f0, const double *p, double *restrict y1,",
        "                 double *restrict f1, double *restrict error)\n{",
    ]
    outputs = [_each(f"q[{k}]", f"{scale}({_sum(row)})") for k, row in enumerate(dense)]
    return "\n".join([*head, *body, "}", "static void prepare_dense(double h)\n{", *outputs, "}"])


def _explicit(tableau: Any) -> str:
    body = [_each("u[0]", "f0[i]")]
    for s in range(1, len(tableau.times)):
        body.append(_each("y1", f"y[i] + h * ({_sum(tableau.a[s])})"))
        body.append(f"    rhs(t + {tableau.times[s]!r} * h, y1, p, u[{s}]);")
    body.append(_each("f1", f"u[{len(tableau.times) - 1}][i]"))
    body.append(_each("error", f"h * ({_sum(tableau.b_error)})"))
    counts = f"\n#define RHS_PER_STEP {len(tableau.times) - 1}\n#define JACOBIANS_PER_STEP 0"
    return _frame(len(tableau.times), tableau.error_order, tableau.dense, "h * ", body) + counts


def _rosenbrock(tableau: Any) -> str:
    stages = len(tableau.b)
    body = [
        "    static _Thread_local double lu[FACTORS], jacobian[NNZ + 1], drift[N], f[N], b[N];",
        "    jac(t, y, p, jacobian);",
        f"    factorise(jacobian, 1.0 / (h * {tableau.gamma!r}), lu);",
        "    if (!AUTONOMOUS) dfdt(t, y, p, drift);",
        "    const double inverse = 1.0 / h;",
        _each("f", "f0[i]"),
    ]
    ends = [*tableau.a[1:], tableau.b]
    for s in range(stages):
        coupled = f" + inverse * ({_sum(tableau.c[s])})" if any(tableau.c[s]) else ""
        drift = f" + (AUTONOMOUS ? 0.0 : h * {tableau.d[s]!r} * drift[i])" if tableau.d[s] else ""
        body += [_each("b", f"f[i]{coupled}{drift}"), f"    solve(lu, b, u[{s}]);"]
        body.append(_moved(ends[s], tableau.a[s]))
        time = tableau.times[s + 1] if s + 1 < stages else 1.0
        body.append(f"    rhs(t + {time!r} * h, y1, p, {'f' if s + 1 < stages else 'f1'});")
    body.append(_each("error", _sum(tableau.b_error)))
    counts = f"\n#define RHS_PER_STEP {stages}\n#define JACOBIANS_PER_STEP 1"
    return _frame(stages, tableau.error_order, tableau.dense, "", body) + counts


def _moved(row: Sequence[float], before: Sequence[float]) -> str:
    """The next argument of the field: from the start of the step, or from the last argument where that is shorter."""
    change = [a - b for a, b in zip(row, before, strict=True)]
    if any(before) and sum(c != 0 for c in change) < sum(c != 0 for c in row):
        return _each("y1", f"y1[i] + {_sum(change)}")
    return _each("y1", f"y[i] + {_sum(row)}")

"""Diagrams for the documentation, as small SVG files that are the same for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.zoo import Problem

from .peers import BY_HAND, C_LOOP, CVODE, SYMDEQ, TUNED

_Curves = Mapping[str, Sequence[tuple[float, float]]]

# Colours that stay apart for the colour-blind (Okabe and Ito 2008); ours is drawn thickest.
_STYLES = {
    SYMDEQ: ("#d55e00", "o", 2.4),
    BY_HAND: ("#0072b2", "s", 1.2),
    TUNED: ("#56b4e9", "D", 1.2),
    CVODE: ("#009e73", "^", 1.2),
    C_LOOP: ("#000000", "v", 1.2),
    "SciPy LSODA": ("#cc79a7", "x", 1.0),
    "SciPy Radau": ("#e69f00", "+", 1.0),
    "SciPy BDF": ("#999999", "1", 1.0),
}


def work_precision(problem: Problem, curves: _Curves, path: Path) -> None:
    """Time against error, both by powers of ten; the lower left corner is best."""
    kind = "stiff" if problem.stiff else "not stiff"
    title = f"{problem.name}: {len(problem.states)} states, {kind}"
    _drawn(curves, path, title, "largest error relative to |y| + atol/rtol", "time of a solve in µs", falling=True)


def growth(title: str, curves: _Curves, path: Path, what: str) -> None:
    """Time against the number of states."""
    _drawn(curves, path, title, "number of states", what, falling=False)


def _drawn(curves: _Curves, path: Path, title: str, across: str, up: str, *, falling: bool) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axes = figure.subplots()
        for peer, curve in curves.items():
            colour, marker, width = _STYLES.get(peer, ("#666666", ".", 1.0))
            axes.loglog(*zip(*curve, strict=True), color=colour, marker=marker, ms=4, lw=width, label=peer)
        axes.set(title=title, xlabel=across, ylabel=up)
        if falling:
            axes.invert_xaxis()
        axes.grid(visible=True, which="major", lw=0.4, alpha=0.5)
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Creator": None})

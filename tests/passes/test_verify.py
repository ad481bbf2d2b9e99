"""The verifier finds each broken rule."""

from dataclasses import replace

import pytest
import sympy as sp

from symdeq._errors import VerificationError
from symdeq.model import D, Eq, Equation, Stage, State, System, parameters, states
from symdeq.passes import run, verify
from symdeq.passes.flatten import flatten

x, y, z = states(x=1.0, y=1.0, z=None)
(k,) = parameters(k=1.0)
part = System([Eq(D(x), -x)], name="part")
declared = System([Eq(D(x), -k * x * z), Eq(D(y), z), Eq(z, x + y)], observed={"e": x})
flat = flatten(declared)
final = run(declared)
structure = final.structure
assert structure is not None


def test_good_systems_pass() -> None:
    for system in (declared, flat, final):
        verify(system)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (replace(flat, subsystems=(part,)), "has subsystems"),
        (replace(flat, states=(*flat.states, State("k"))), "a name stands for two symbols"),
        (replace(flat, initial=flat.initial[::-1]), "not in the order of the states"),
        (replace(flat, initial=((x, x), *flat.initial[1:])), "more than parameters"),
        (replace(flat, params=()), "k is not among the symbols"),
        (replace(flat, equations=(Equation(sp.Symbol("q"), x),)), "q is not declared"),
        (replace(flat, equations=(Equation(D(x, 2), x),)), r"D\(x, 2\) is not of first order"),
        (replace(final, equations=final.equations[:1]), "not one equation a state"),
        (replace(final, equations=final.equations[::-1]), "stands where"),
        (replace(final, equations=(Equation(D(x), D(y)), final.equations[1])), "which is not defined"),
        (replace(final, observed=final.observed[1:]), "is not among the symbols"),
        (replace(final, observed=(Equation(State("q"), z), *final.observed)), "before it is defined"),
        (replace(final, structure=None), "has no structure"),
        (replace(final, structure=replace(structure, mass=(1, 0))), "mass matrix"),
        (replace(final, structure=replace(structure, kind="dae")), "not the kind"),
        (replace(final, structure=replace(structure, sparsity=structure.sparsity[::-1])), "not in order"),
        (replace(final, structure=replace(structure, sparsity=((0, 9),))), "outside the Jacobian"),
        (replace(final, structure=replace(structure, linear=frozenset({(5, 5)}))), "linear entry"),
        (replace(final, structure=replace(structure, blocks=((0,),))), "blocks"),
    ],
)
def test_broken_systems_are_found(broken: System, rule: str) -> None:
    assert broken.stage in (Stage.FLAT, Stage.ANALYSED)
    with pytest.raises(VerificationError, match=rf"{rule}(.|\n)*System `system`"):
        verify(broken)

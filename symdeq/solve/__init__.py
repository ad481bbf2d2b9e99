"""From a model to a solution: the door, the choice of method, one call of diffrax, and what comes out."""

from symdeq.solve.ensemble import ensemble as ensemble
from symdeq.solve.ensemble_solution import EnsembleSolution as EnsembleSolution
from symdeq.solve.jump_solution import JumpSolution as JumpSolution
from symdeq.solve.jumps import simulate as simulate
from symdeq.solve.method import Method as Method
from symdeq.solve.ode import GeneratedTerm as GeneratedTerm
from symdeq.solve.problem import solve as solve
from symdeq.solve.solution import Solution as Solution
from symdeq.solve.steady import steady_state as steady_state
from symdeq.solve.steady_solution import SteadyState as SteadyState

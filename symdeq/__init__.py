"""symdeq: differential equations written as mathematics, solved as fast, differentiable JAX programs."""

from symdeq import _xla as _xla  # first: sets XLA's option before anything computes

# isort: split
from symdeq._errors import FitError as FitError
from symdeq._errors import MissingExtraError as MissingExtraError
from symdeq._errors import ModelError as ModelError
from symdeq._errors import SolveError as SolveError
from symdeq._errors import SymdeqError as SymdeqError
from symdeq._errors import SymdeqWarning as SymdeqWarning
from symdeq._errors import UnsupportedError as UnsupportedError
from symdeq.compiled import Model as Model
from symdeq.compiled import compile as compile
from symdeq.fit import Fit as Fit
from symdeq.fit import LogNormal as LogNormal
from symdeq.fit import Normal as Normal
from symdeq.fit import Unknown as Unknown
from symdeq.fit import fit as fit
from symdeq.model import D as D
from symdeq.model import Eq as Eq
from symdeq.model import Equation as Equation
from symdeq.model import Neural as Neural
from symdeq.model import Reaction as Reaction
from symdeq.model import ReactionNetwork as ReactionNetwork
from symdeq.model import System as System
from symdeq.model import brownian as brownian
from symdeq.model import delay as delay
from symdeq.model import guess as guess
from symdeq.model import parameter as parameter
from symdeq.model import parameters as parameters
from symdeq.model import reactions as reactions
from symdeq.model import state as state
from symdeq.model import states as states
from symdeq.model import t as t
from symdeq.nn import DEQ as DEQ
from symdeq.nn import DEQInfo as DEQInfo
from symdeq.nn import MultipleShooting as MultipleShooting
from symdeq.nn import MultiScaleDEQ as MultiScaleDEQ
from symdeq.nn import MultiScaleNeuralODE as MultiScaleNeuralODE
from symdeq.nn import MultiScaleSkipDEQ as MultiScaleSkipDEQ
from symdeq.nn import NeuralODE as NeuralODE
from symdeq.nn import NeuralSDE as NeuralSDE
from symdeq.nn import ODELayer as ODELayer
from symdeq.nn import SkipDEQ as SkipDEQ
from symdeq.nn import Training as Training
from symdeq.nn import TrainingError as TrainingError
from symdeq.nn import roughness as roughness
from symdeq.nn import train as train
from symdeq.saving import load as load
from symdeq.saving import save as save
from symdeq.solve import EnsembleSolution as EnsembleSolution
from symdeq.solve import JumpSolution as JumpSolution
from symdeq.solve import Solution as Solution
from symdeq.solve import SteadyState as SteadyState
from symdeq.solve import ensemble as ensemble
from symdeq.solve import simulate as simulate
from symdeq.solve import solve as solve
from symdeq.solve import steady_state as steady_state
from symdeq.solvers import BDF as BDF
from symdeq.solvers import Anderson as Anderson
from symdeq.solvers import AutoSwitch as AutoSwitch
from symdeq.solvers import Broyden as Broyden
from symdeq.solvers import Delayed as Delayed
from symdeq.solvers import FixedPoint as FixedPoint
from symdeq.solvers import NewtonKrylov as NewtonKrylov
from symdeq.solvers import Rodas5P as Rodas5P
from symdeq.solvers import Rosenbrock23 as Rosenbrock23
from symdeq.solvers import RosenbrockMilstein as RosenbrockMilstein

__version__ = "0.1.0"

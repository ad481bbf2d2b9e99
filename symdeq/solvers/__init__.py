"""diffrax solvers that diffrax lacks: Rosenbrock methods, backward differentiation of variable order, and a solver that
switches between explicit and Rosenbrock steps.

They work with any diffrax term of an ordinary differential equation, and know nothing of symdeq's models.
"""

from symdeq.solvers.anderson import Anderson as Anderson
from symdeq.solvers.approach import Approach as Approach
from symdeq.solvers.autoswitch import AutoSwitch as AutoSwitch
from symdeq.solvers.autoswitch import SwitchState as SwitchState
from symdeq.solvers.autoswitch import SwitchStats as SwitchStats
from symdeq.solvers.bdf import BDF as BDF
from symdeq.solvers.bdf import BDFState as BDFState
from symdeq.solvers.bdf import BDFStats as BDFStats
from symdeq.solvers.breakpoints import Breakpoints as Breakpoints
from symdeq.solvers.breakpoints import breakpoints as breakpoints
from symdeq.solvers.broyden import Broyden as Broyden
from symdeq.solvers.broyden import InverseEstimate as InverseEstimate
from symdeq.solvers.delay_term import DelayTerm as DelayTerm
from symdeq.solvers.delayed import Delayed as Delayed
from symdeq.solvers.delayed import DelayedState as DelayedState
from symdeq.solvers.dop853 import DOP853 as DOP853
from symdeq.solvers.doubling import Doubling as Doubling
from symdeq.solvers.explicit import ExplicitTableau as ExplicitTableau
from symdeq.solvers.explicit_tableaus import BOSH3 as BOSH3
from symdeq.solvers.explicit_tableaus import TSIT5 as TSIT5
from symdeq.solvers.first_step import FirstStep as FirstStep
from symdeq.solvers.fixed_point import FixedPoint as FixedPoint
from symdeq.solvers.gillespie import JumpResults as JumpResults
from symdeq.solvers.gillespie import direct_method as direct_method
from symdeq.solvers.gmres import GMRES as GMRES
from symdeq.solvers.interpolation import StepInterpolation as StepInterpolation
from symdeq.solvers.jumping import Jumping as Jumping
from symdeq.solvers.linear import linear_solver as linear_solver
from symdeq.solvers.linearise import AbstractLinearisation as AbstractLinearisation
from symdeq.solvers.linearise import DenseLinearisation as DenseLinearisation
from symdeq.solvers.linearise import MassTerm as MassTerm
from symdeq.solvers.linearise import linearise as linearise
from symdeq.solvers.newton_krylov import NewtonKrylov as NewtonKrylov
from symdeq.solvers.pseudo_transient import PseudoTransient as PseudoTransient
from symdeq.solvers.rodas5p import RODAS5P as RODAS5P
from symdeq.solvers.rodas5p import Rodas5P as Rodas5P
from symdeq.solvers.rosenbrock import AbstractRosenbrock as AbstractRosenbrock
from symdeq.solvers.rosenbrock import RosenbrockTableau as RosenbrockTableau
from symdeq.solvers.rosenbrock23 import ROSENBROCK23 as ROSENBROCK23
from symdeq.solvers.rosenbrock23 import Rosenbrock23 as Rosenbrock23
from symdeq.solvers.rosenbrock_milstein import RosenbrockMilstein as RosenbrockMilstein

"""The language in which models are written: symbols, equations, systems. Symbolic only."""

from symdeq.model.equations import Eq as Eq
from symdeq.model.equations import Equation as Equation
from symdeq.model.equations import Origin as Origin
from symdeq.model.symbols import D as D
from symdeq.model.symbols import Guess as Guess
from symdeq.model.symbols import ModelSymbol as ModelSymbol
from symdeq.model.symbols import Parameter as Parameter
from symdeq.model.symbols import State as State
from symdeq.model.symbols import Time as Time
from symdeq.model.symbols import TimeDerivative as TimeDerivative
from symdeq.model.symbols import guess as guess
from symdeq.model.symbols import parameter as parameter
from symdeq.model.symbols import parameters as parameters
from symdeq.model.symbols import state as state
from symdeq.model.symbols import states as states
from symdeq.model.symbols import t as t
from symdeq.model.system import Invariant as Invariant
from symdeq.model.system import Stage as Stage
from symdeq.model.system import Structure as Structure
from symdeq.model.system import System as System

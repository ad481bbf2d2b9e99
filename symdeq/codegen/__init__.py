"""From a `System` to Programs, to readable JAX source, to callables."""

from symdeq.codegen.calls import Functions as Functions
from symdeq.codegen.calls import called as called
from symdeq.codegen.calls import functions as functions
from symdeq.codegen.emit import emit as emit
from symdeq.codegen.emit import emit_program as emit_program
from symdeq.codegen.host import host_functions as host_functions
from symdeq.codegen.load import Generated as Generated
from symdeq.codegen.load import load as load
from symdeq.codegen.load import load_program as load_program
from symdeq.codegen.lower import lower as lower
from symdeq.codegen.lower import lower_expressions as lower_expressions
from symdeq.codegen.program import Assignment as Assignment
from symdeq.codegen.program import Program as Program
from symdeq.codegen.program import Programs as Programs
from symdeq.codegen.program import verify as verify

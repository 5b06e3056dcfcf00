# SPDX-License-Identifier: Apache-2.0
"""The study of forward and reverse mode, on any function.

- `tables.py`:      `forward_table`, `reverse_table`: the derivation of a derivative, operation by operation
- `rendering.py`:   tables as text, Markdown, HTML and LaTeX
- `graph.py`:       `graph`: the computational graph, with values, tangents or adjoints on it, as Graphviz source or a picture
- `expression.py`:  `parse`: text such as "sin(t1*t2) + exp(t3)" as a function of a vector
- `program.py`:     `trace`: the elementary operations of a function, with names
- `layout.py`:      which values have a row, and which rows an operation uses
- `sweeps.py`:      the two sweeps over a program; `nesting.py`: one trip through a loop's body
- `agreement.py`:   whether a table has the numbers of JAX
- `products.py`:    `jvp`, `vjp`, `gradient`, `jacobian`, `hessian`, `partial_derivative`, each in a few lines of the two products
- `check.py`:       `check_gradient`, `check_hvp`: derivatives against differences; `comparison.py`: what they say
- `adjoint.py`:     `check_products`: the dot-product test of jvp against vjp
- `differences.py`: where a check evaluates; `richardson.py`: derivatives from values; `complex_step.py`: without subtraction
- `step_sweeps.py`: `step_sweep`: the error of a difference against its step
- `modes.py`:       `compare_modes`: what forward, reverse and mixed modes cost on a function; `measuring.py`: how it is measured
- `compositions.py`: `compare_hvp`, `compare_checkpoint`: what compositions cost, in time and memory
- `size_sweeps.py`: `sweep`: where forward overtakes reverse over numbers of inputs and outputs;
  `sweep_hvp`: products with the Hessian over numbers of inputs
- `advice.py`:      `advise`: which mode to take, and why, in a sentence
- `costs.py`:       `count_operations`: operations counted over the program; `cost_rules.py`: what a primitive costs
- `commands.py`:    `jopt autodiff table`, `jopt autodiff modes`
"""

from jopt.autodiff.adjoint import ProductsCheck, check_products
from jopt.autodiff.advice import advise
from jopt.autodiff.check import check_gradient, check_hvp
from jopt.autodiff.comparison import Comparison, DerivativeCheck, HvpCheck, Outcome
from jopt.autodiff.compositions import CheckpointCosts, compare_checkpoint, compare_hvp
from jopt.autodiff.costs import OperationCount, count_operations
from jopt.autodiff.expression import Expression, parse, parse_point
from jopt.autodiff.graph import Edge, Graph, graph
from jopt.autodiff.measuring import CostRow, CostTable
from jopt.autodiff.modes import compare_modes
from jopt.autodiff.products import gradient, hessian, jacobian, jvp, partial_derivative, vjp
from jopt.autodiff.size_sweeps import HvpCosts, SizeSweep, sine_family, sweep, sweep_hvp
from jopt.autodiff.step_sweeps import StepSweep, step_sweep
from jopt.autodiff.tables import Adjoint, Row, Table, forward_table, reverse_table

__all__ = [
    "Adjoint",
    "CheckpointCosts",
    "Comparison",
    "CostRow",
    "CostTable",
    "DerivativeCheck",
    "Edge",
    "Expression",
    "Graph",
    "HvpCheck",
    "HvpCosts",
    "OperationCount",
    "Outcome",
    "ProductsCheck",
    "Row",
    "SizeSweep",
    "StepSweep",
    "Table",
    "advise",
    "check_gradient",
    "check_hvp",
    "check_products",
    "compare_checkpoint",
    "compare_hvp",
    "compare_modes",
    "count_operations",
    "forward_table",
    "gradient",
    "graph",
    "hessian",
    "jacobian",
    "jvp",
    "parse",
    "parse_point",
    "partial_derivative",
    "reverse_table",
    "sine_family",
    "step_sweep",
    "sweep",
    "sweep_hvp",
    "vjp",
]

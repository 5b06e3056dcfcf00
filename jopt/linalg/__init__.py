# SPDX-License-Identifier: Apache-2.0
"""Operators applied to vectors, knowing nothing of objectives.

- `limited_memory` (limited_memory.py): the L-BFGS matrix and its product with a vector, in two forms.
- `cg` (cg.py): conjugate gradients for A x = b; `preconditioners` (preconditioners.py): Jacobi, Hutchinson, L-BFGS.
- `Box`, `project`, `projected_gradient` (box.py): bounds, and what takes the gradient's part within them;
  compact.py: the L-BFGS matrix itself, not its inverse; boxed_model.py: its model's minimiser in a box.
- `lsqr` (lsqr.py): least squares by products; dense_least_squares.py: by orthogonal factors.
- `steihaug` (steihaug.py): conjugate gradients on a quadratic model within a ball.
- `boxed_steihaug` (boxed_steihaug.py): the same within a box and a ball; boxed_rounds.py: its one trip; boxed_path.py: shorter steps.
- more_sorensen.py, dogleg.py: the model's minimiser in the ball, and Powell's path, from a dense matrix.
- `lanczos`, `ritz` (lanczos.py): eigenvalues of a symmetric operator on a Krylov space, with errors;
  `extremes` (extremes.py): bounds of the ends of its spectrum.
- `hutchinson` (hutchinson.py): trace and diagonal from random signs, with error bars.
- `asymmetry` (symmetry.py): is an operator symmetric? `dense` (operators.py): its matrix, for few parameters.
- `probes` (probes.py): random trees.
"""

from jopt.linalg import limited_memory, preconditioners, probes
from jopt.linalg.box import Box, project, projected_gradient
from jopt.linalg.boxed_steihaug import BoxedResult, boxed_steihaug
from jopt.linalg.cg import CGResult, cg
from jopt.linalg.extremes import Extremes, extremes
from jopt.linalg.hutchinson import Estimate, hutchinson
from jopt.linalg.lanczos import Ritz, Tridiagonal, lanczos, ritz, ritz_vector
from jopt.linalg.lsqr import LSQRResult, lsqr
from jopt.linalg.operators import dense
from jopt.linalg.steihaug import SteihaugResult, steihaug
from jopt.linalg.symmetry import asymmetry, symmetry_tolerance

__all__ = [
    "Box",
    "BoxedResult",
    "CGResult",
    "Estimate",
    "Extremes",
    "LSQRResult",
    "Ritz",
    "SteihaugResult",
    "Tridiagonal",
    "asymmetry",
    "boxed_steihaug",
    "cg",
    "dense",
    "extremes",
    "hutchinson",
    "lanczos",
    "limited_memory",
    "lsqr",
    "preconditioners",
    "probes",
    "project",
    "projected_gradient",
    "ritz",
    "ritz_vector",
    "steihaug",
    "symmetry_tolerance",
]

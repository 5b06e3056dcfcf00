# SPDX-License-Identifier: Apache-2.0
"""Classic smooth test functions with known minima; each docstring has the formula, with x the params of shape (n,).

Where the customary start is that of Moré, Garbow and Hillstrom, the problem's number in their collection is given:
Moré, Garbow, Hillstrom (1981), Testing unconstrained optimization software, ACM TOMS 7(1), 17-41,
doi:10.1145/355934.355936.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jopt import validate
from jopt.problems.records import Problem, from_formula
from jopt.types import described

_MGH = "Moré, Garbow, Hillstrom (1981), Testing unconstrained optimization software"


@described
def rosenbrock(n: int = 2) -> Problem:
    """Return Rosenbrock's curved valley, chained to n dimensions (number 1 for n = 2).

        f(x) = sum_{i<n} 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2,      f(1, ..., 1) = 0

    Starts: (-1.2, 1, -1.2, ...) and (0.2, ..., 0.2). From n = 4 on there is another local minimiser, near
    (-1, 1, ..., 1), which is not recorded.

    Args:
      n: number of variables, >= 2.

    Raises:
      ValueError: if `n` is less than 2.

    Reference: Rosenbrock (1960), An automatic method for finding the greatest or least value of a function, The
      Computer Journal 3(3), doi:10.1093/comjnl/3.3.175; the other minimiser: Shang, Qiu (2006), A note on the extended
      Rosenbrock function, doi:10.1162/evco.2006.14.1.119.
    """
    validate.integer("rosenbrock", "n", n, low=2)

    def formula(x: jax.Array) -> jax.Array:
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    starts = (np.where(np.arange(n) % 2 == 0, -1.2, 1.0), np.full(n, 0.2))
    source = "Rosenbrock (1960), An automatic method for finding the greatest or least value of a function"
    return from_formula("rosenbrock", formula, starts, source=source, minimum=0.0, minimisers=(np.ones(n),))


@described
def beale() -> Problem:
    """Return Beale's function: steep walls, a flat valley and a saddle at (0, 1) (number 5).

        f(x, y) = (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2,      f(3, 0.5) = 0

    Starts: (2, -2), (-3, 3) and the customary (1, 1). From (-3, 3) descent may run off to x -> -inf along y -> 1, where
    f falls towards 0.452 = min_c (1.5 + c)^2 + (2.25 + 2 c)^2 + (2.625 + 3 c)^2.

    Reference: Beale (1958), On an iterative method for finding a local minimum of a function of more than one
      variable, Technical Report 25, Statistical Techniques Research Group, Princeton University.
    """

    def formula(params: jax.Array) -> jax.Array:
        x, y = params
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2

    return from_formula(
        "beale",
        formula,
        ((2.0, -2.0), (-3.0, 3.0), (1.0, 1.0)),
        source="Beale (1958), On an iterative method for finding a local minimum of a function of more than one variable",
        minimum=0.0,
        minimisers=((3.0, 0.5),),
        stationary=((0.0, 1.0),),
    )


@described
def himmelblau() -> Problem:
    """Return Himmelblau's function, with four minimisers of value 0.

        f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2

    At value 0, y = 11 - x^2 and (x - 3)(x^3 + 3 x^2 - 13 x - 38) = 0; the roots were found with 60 digits and
    rounded. Starts: (0, 0) and (-1, -1).

    Reference: Himmelblau (1972), Applied Nonlinear Programming, McGraw-Hill.
    """

    def formula(params: jax.Array) -> jax.Array:
        x, y = params
        return (x**2 + y - 11.0) ** 2 + (x + y**2 - 7.0) ** 2

    return from_formula(
        "himmelblau",
        formula,
        ((0.0, 0.0), (-1.0, -1.0)),
        source="Himmelblau (1972), Applied Nonlinear Programming",
        minimum=0.0,
        minimisers=(
            (3.0, 2.0),
            (-3.779310253377747, -3.2831859912861694),
            (-2.805118086952745, 3.131312518250573),
            (3.5844283403304917, -1.8481265269644036),
        ),
    )


@described
def peaks() -> Problem:
    """Return the sum of bumps known as peaks, with one global and two local minimisers.

        f(x, y) = 3 (1 - x)^2 exp(-x^2 - (y + 1)^2) - 10 (x/5 - x^3 - y^5) exp(-x^2 - y^2)
                  - exp(-(x + 1)^2 - y^2) / 3

    It flattens to 0 far out. Starts: (0.5, -1), downhill to the global minimiser, and (-1, 0), to a local one. The
    recorded points are zeros of the gradient, found with 60 digits and rounded.

    Reference: MathWorks, MATLAB function reference, peaks.
    """

    def formula(params: jax.Array) -> jax.Array:
        x, y = params
        left = 3.0 * (1.0 - x) ** 2 * jnp.exp(-(x**2) - (y + 1.0) ** 2)
        middle = 10.0 * (x / 5.0 - x**3 - y**5) * jnp.exp(-(x**2) - y**2)
        return left - middle - jnp.exp(-((x + 1.0) ** 2) - y**2) / 3.0

    return from_formula(
        "peaks",
        formula,
        ((0.5, -1.0), (-1.0, 0.0)),
        source="MathWorks, MATLAB function reference, peaks",
        minimum=-6.551133332835837,
        minimisers=((0.2282789205563691, -1.6255349574999965),),
        local_minimisers=((-1.3473962443682108, 0.20451886609700518), (0.2964455538468321, 0.32019624766683434)),
    )


@described
def booth() -> Problem:
    """Return Booth's function, a quadratic with eigenvalues 2 and 18.

        f(x, y) = (x + 2 y - 7)^2 + (2 x + y - 5)^2,      f(1, 3) = 0

    Start: (0, 0).

    Reference: Booth (1949), An application of the method of steepest descents to the solution of systems of non-linear
      simultaneous equations, doi:10.1093/qjmam/2.4.460; in Jamil, Yang (2013), A literature survey of benchmark
      functions, number 17, arXiv:1308.4008.
    """

    def formula(params: jax.Array) -> jax.Array:
        x, y = params
        return (x + 2.0 * y - 7.0) ** 2 + (2.0 * x + y - 5.0) ** 2

    return from_formula(
        "booth",
        formula,
        ((0.0, 0.0),),
        source="Booth (1949), An application of the method of steepest descents",
        minimum=0.0,
        minimisers=((1.0, 3.0),),
        hessian=np.array([[10.0, 8.0], [8.0, 10.0]]),
    )


@described
def powell_singular() -> Problem:
    """Return Powell's singular function: the Hessian at the minimiser has rank 2 (number 13).

        f(x) = (x1 + 10 x2)^2 + 5 (x3 - x4)^2 + (x2 - 2 x3)^4 + 10 (x1 - x4)^4,      f(0) = 0

    Newton-type methods converge only linearly. Start: (3, -1, 0, 1).

    Reference: Powell (1962), An iterative method for finding stationary values of a function of several variables, The
      Computer Journal 5(2), doi:10.1093/comjnl/5.2.147.
    """

    def formula(params: jax.Array) -> jax.Array:
        x1, x2, x3, x4 = params
        return (x1 + 10.0 * x2) ** 2 + 5.0 * (x3 - x4) ** 2 + (x2 - 2.0 * x3) ** 4 + 10.0 * (x1 - x4) ** 4

    return from_formula(
        "powell_singular",
        formula,
        ((3.0, -1.0, 0.0, 1.0),),
        source="Powell (1962), An iterative method for finding stationary values of a function of several variables",
        minimum=0.0,
        minimisers=(np.zeros(4),),
    )


@described
def wood() -> Problem:
    """Return Wood's function: two coupled curved valleys (number 14).

        f(x) = 100 (x2 - x1^2)^2 + (1 - x1)^2 + 90 (x4 - x3^2)^2 + (1 - x3)^2
               + 10 (x2 + x4 - 2)^2 + (x2 - x4)^2 / 10,      f(1, 1, 1, 1) = 0

    Start: (-3, -1, -3, -1).

    Reference: Moré, Garbow, Hillstrom (1981), number 14, after Colville (1968), A comparative study of nonlinear
      programming codes.
    """

    def valley(height: float, x: Any, y: Any) -> Any:
        return height * (y - x**2) ** 2 + (1.0 - x) ** 2

    def formula(params: jax.Array) -> jax.Array:
        x1, x2, x3, x4 = params
        return valley(100.0, x1, x2) + valley(90.0, x3, x4) + 10.0 * (x2 + x4 - 2.0) ** 2 + (x2 - x4) ** 2 / 10.0

    return from_formula(
        "wood", formula, ((-3.0, -1.0, -3.0, -1.0),), source=_MGH, minimum=0.0, minimisers=(np.ones(4),)
    )

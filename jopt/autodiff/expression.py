# SPDX-License-Identifier: Apache-2.0
"""Text such as "sin(t1*t2) + exp(t2+t3) - 2*t3" as a function of a vector t.

The text is read by Python's own grammar (`ast.parse`, which executes nothing) and every node is looked up in a list of
what is allowed: numbers, t1, t2, ..., pi and e, arithmetic, and elementary functions of `jax.numpy` by their plain name.
Anything else is refused with the part that is not allowed. Numbers among themselves are computed at once, in float64.

Operations are evaluated level by level, as a textbook writes them down: first those on t and numbers only, then those
on their results, and so on.
"""

from __future__ import annotations

import ast
import functools
import math
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FUNCTIONS = {
    **dict.fromkeys(
        (
            "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
            "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "square", "reciprocal", "abs", "sign",
            "sinc", "floor", "ceil",
        ),
        1,
    ),
    **dict.fromkeys(("maximum", "minimum", "power", "arctan2", "hypot", "logaddexp"), 2),
    "where": 3,
}  # fmt: skip
"""The functions that an expression may call, with their number of arguments; each is `jax.numpy`'s of that name."""

CONSTANTS = {"pi": math.pi, "e": math.e}
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
VARIABLE = re.compile(r"t[1-9][0-9]{0,2}")
LENGTH = 2000  # characters of an expression
DEPTH = 100  # levels of nesting, well within Python's own limit
POWER = 64  # whole exponents up to which a power is one of a whole number, which negative bases have too


class Step(NamedTuple):
    """One operation.

    Attributes:
      function: what it does with its operands.
      operands: indices of earlier steps, or the numbers themselves as `Number`.
    """

    function: Callable[..., Any]
    operands: tuple[Any, ...]


class Number(NamedTuple):
    """A number among the operands.

    Attributes:
      value: finite.
    """

    value: float | int


class Expression:
    """A function of one vector t = (t1, t2, ...), made by `parse`.

    Attributes:
      text: as it was given.
      size: the largest number of a variable; t may be longer.
      entry_names: "t1", "t2", ..., which tables use.
    """

    def __init__(self, text: str, size: int, steps: tuple[Step, ...], output: Any) -> None:
        self.text, self.size = text, size
        self._steps, self._output = steps, output

    @property
    def entry_names(self) -> tuple[str, ...]:
        """The names of the entries of t."""
        return tuple(f"t{i + 1}" for i in range(self.size))

    def __repr__(self) -> str:
        return f"parse({self.text!r})"

    def __call__(self, t: Any) -> jax.Array:
        """Evaluate the expression.

        Args:
          t: an array of shape (n,), n at least `size`; whole numbers are taken as floating ones.

        Returns:
          A scalar.

        Raises:
          ValueError: if t has another shape.
          TypeError: if t is complex.
        """
        t = jnp.asarray(t)
        if jnp.issubdtype(t.dtype, jnp.complexfloating):
            msg = f"parse: t must be real numbers, got {t.dtype}{list(t.shape)}."
            raise TypeError(msg)
        t = t if jnp.issubdtype(t.dtype, jnp.floating) else t.astype(float)
        if t.ndim != 1 or t.shape[0] < self.size:
            msg = f"parse: t must be a vector of at least {self.size} entries, got shape {t.shape}."
            raise ValueError(msg)
        done: list[Any] = []
        for function, operands in self._steps:
            if not operands:
                done.append(function(t))
            else:
                done.append(function(*(o.value if isinstance(o, Number) else done[o] for o in operands)))
        output = self._output.value if isinstance(self._output, Number) else done[self._output]
        return jnp.asarray(output, t.dtype)


def parse(text: str) -> Expression:
    """Return an expression in t1, t2, ... as a function of the vector t.

    Args:
      text: numbers, t1 to t999, pi, e, + - * / **, parentheses and the functions of `FUNCTIONS`; in the first argument
        of where also one comparison, as in "where(t1 > 0, t1, 0)".

    Returns:
      The function. It is real and traceable.

    Raises:
      TypeError: if `text` is no text.
      ValueError: if it is no expression or has anything that is not allowed; the message shows the part.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import parse
      >>> f = parse("t1**2 + sin(pi*t2)")
      >>> bool(jnp.allclose(f(jnp.array([3.0, 0.5])), 10.0))
      True
    """
    reader = _Reader(text)
    output = reader.read(_tree(text), 0)
    steps, output = reader.sorted(output)
    return Expression(text, reader.size, steps, output)


def parse_point(text: str) -> np.ndarray:
    """Return numbers such as "pi/6, 2, 5" as a vector in float64.

    Args:
      text: expressions without variables, with commas between them.

    Returns:
      A vector of shape (n,).

    Raises:
      TypeError: if `text` is no text.
      ValueError: if it is no list of numbers; the message shows the part.

    Example:
      >>> from jopt.autodiff import parse_point
      >>> bool(abs(parse_point("pi/6, 2, 5")[0] - 0.5235987755982988) < 1e-15)
      True
    """
    tree = _tree(text)
    numbers = []
    for part in tree.elts if isinstance(tree, ast.Tuple) else [tree]:
        value = _Reader(text).read(part, 0)
        if not isinstance(value, Number):
            raise _refusal(text, part, "a number, without t1, t2, ...")
        numbers.append(float(value.value))
    return np.array(numbers)


def _tree(text: str) -> ast.expr:
    """Read the text by Python's grammar."""
    if not isinstance(text, str):
        msg = f"parse: text must be text, got {text!r} ({type(text).__name__})."
        raise TypeError(msg)
    if len(text) > LENGTH or not text.isascii():
        what = f"{len(text)} characters" if len(text) > LENGTH else f"{next(c for c in text if not c.isascii())!r}"
        msg = f"parse: text must be at most {LENGTH} characters of ASCII, got {what}."
        raise ValueError(msg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested"
        msg = f"parse: text must be an expression such as 'sin(t1*t2) + 2*t3', got {text!r} ({reason})."
        raise ValueError(msg) from None


def _refusal(text: str, node: ast.AST, allowed: str) -> ValueError:
    part = ast.get_source_segment(text.strip(), node) or type(node).__name__
    return ValueError(f"parse: {part!r} must be {allowed}, in {text!r}.")


class _Reader:
    """Turns the nodes of an expression into steps; a number stays a `Number`, the rest becomes the index of a step."""

    def __init__(self, text: str) -> None:
        self.text, self.size = text, 0
        self.steps: list[Step] = []
        self.levels: list[int] = []
        self.variables: dict[int, int] = {}

    def read(self, node: ast.AST, depth: int) -> Any:
        if depth > DEPTH:
            raise _refusal(self.text, node, f"nested at most {DEPTH} deep")
        match node:
            case ast.Constant(value=value) if type(value) in (int, float):
                return self.number(node, lambda: value)
            case ast.Name(id=name):
                return self.name(node, name)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                return self.step(node, _neg if isinstance(sign, ast.USub) else _pos, [self.read(operand, depth + 1)])
            case ast.BinOp(op=op) if type(op) in OPERATORS:
                return self.chain(node, depth)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                return self.call(node, name, args, depth)
        raise _refusal(self.text, node, "a number, t1, t2, ..., pi, e, arithmetic or a call of an elementary function")

    def chain(self, node: ast.BinOp, depth: int) -> Any:
        """Read a + b + c + ..., which the grammar nests to the left, from its first term on: it is flat to who writes it."""
        chain: list[ast.BinOp] = []
        first: ast.expr = node
        while isinstance(first, ast.BinOp) and type(first.op) in OPERATORS:
            chain.append(first)
            first = first.left
        value = self.read(first, depth + 1)
        for part in reversed(chain):
            operands = [value, self.read(part.right, depth + 1)]
            value = self.step(part, _ARITHMETIC[OPERATORS[type(part.op)]], operands)
        return value

    def name(self, node: ast.AST, name: str) -> Any:
        if name in CONSTANTS:
            return Number(CONSTANTS[name])
        if not VARIABLE.fullmatch(name):
            raise _refusal(self.text, node, "t1, t2, ... (to t999), pi, e or the name of a function that is called")
        i = int(name[1:]) - 1
        self.size = max(self.size, i + 1)
        if i not in self.variables:
            self.variables[i] = self.append(Step(lambda t: t[i], ()), 0)
        return self.variables[i]

    def call(self, node: ast.AST, name: str, args: list[ast.expr], depth: int) -> Any:
        if len(args) != FUNCTIONS[name]:
            raise _refusal(self.text, node, f"a call of {name} with {FUNCTIONS[name]} argument(s)")
        first = args[0]
        operands = [self.comparison(first, depth + 1) if name == "where" else self.read(first, depth + 1)]
        operands += [self.read(arg, depth + 1) for arg in args[1:]]
        return self.step(node, _named(name), operands)

    def comparison(self, node: ast.AST, depth: int) -> Any:
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
                operands = [self.read(left, depth + 1), self.read(right, depth + 1)]
                if not all(isinstance(o, Number) for o in operands):
                    return self.step(node, _ARITHMETIC[COMPARISONS[type(op)]], operands)
        raise _refusal(self.text, node, "one comparison of t1, t2, ... by <, <=, > or >=")

    def step(self, node: ast.AST, function: Callable[..., Any], operands: list[Any]) -> Any:
        if all(isinstance(o, Number) for o in operands):
            return self.number(node, lambda: function(*(np.float64(o.value) for o in operands)).item())
        if function in WHOLE and isinstance(operands[1], Number):
            operands[1] = _whole(operands[1])
        level = 1 + max(self.levels[o] for o in operands if not isinstance(o, Number))
        return self.append(Step(function, tuple(operands)), level)

    def append(self, step: Step, level: int) -> int:
        self.steps.append(step)
        self.levels.append(level)
        return len(self.steps) - 1

    def number(self, node: ast.AST, compute: Callable[[], Any]) -> Number:
        """Return a number, if it is a finite real one."""
        try:
            with np.errstate(all="ignore"):
                value = float(compute())
        except (OverflowError, TypeError):
            value = math.inf
        if not math.isfinite(value):
            raise _refusal(self.text, node, "a finite real number")
        return Number(value)

    def sorted(self, output: Any) -> tuple[tuple[Step, ...], Any]:
        """Return the steps by level, as they stand in the text within a level; the output's index with them."""
        order = sorted(range(len(self.steps)), key=lambda i: (self.levels[i], i))
        place = {old: new for new, old in enumerate(order)}
        steps = (self.steps[i] for i in order)
        moved = (Step(f, tuple(o if isinstance(o, Number) else place[o] for o in operands)) for f, operands in steps)
        return tuple(moved), output if isinstance(output, Number) else place[output]


@functools.cache
def _named(name: str) -> Callable[..., Any]:
    """Return a function by its name: NumPy's where all is numbers, else jax.numpy's."""

    def function(*operands: Any) -> Any:
        library = np if all(isinstance(o, np.generic) for o in operands) else jnp
        return getattr(library, name)(*operands)

    return function


def _whole(exponent: Number) -> Number:
    """Return a small whole exponent as an integer: its power is a product, which negative bases have too."""
    value = float(exponent.value)
    return Number(int(value)) if value.is_integer() and abs(value) <= POWER else exponent


def _neg(a: Any) -> Any:
    return -a


def _pos(a: Any) -> Any:
    return a


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
WHOLE = (_ARITHMETIC["**"], _named("power"))  # their second operand is an exponent

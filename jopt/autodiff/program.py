# SPDX-License-Identifier: Apache-2.0
"""The program of a function: its elementary operations in the order of evaluation.

`trace(f, x)` lets JAX write down what f does (`jax.make_jaxpr`) and gives every value a name: inputs are called by the
name of f's parameter and their path in the tree (`t`, `x['w']`), intermediate values a1, a2, ... in the order in which
they are made, array constants const1, const2, ..., and numbers by themselves. Nothing is evaluated here.

- Calls of `jax.jit` are opened, or stay closed as one operation. A call with a rule of its own (`jax.custom_jvp`,
  `jax.custom_vjp`) and a checkpointed call are always one operation.
- Control flow (scan, while, cond) is one operation; `bodies` gives the programs within.
- Operations that only move numbers (static indices, reshapes, broadcasts, changes between floating dtypes) can fold:
  their values are then called after what they show, `t[1]` or `a3.reshape(2, 3)`, and take up no number. The name of a
  value has the value's shape up to what NumPy's broadcasting adds.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

from jopt import validate
from jopt.report import DIGITS

CALLS = ("open", "closed")
TEMPLATES = 512  # programs kept for `as_function`, of a few hundred bytes each
LETTERS = "abdefgh"  # of the intermediate values, by the depth of nesting
MOVES = ("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "copy", "copy_p")  # operations that keep every number


class Value(NamedTuple):
    """A value of a program.

    Attributes:
      name: what tables call it.
      kind: "input", "constant", "literal" or "intermediate".
      aval: its shape and dtype, as `jax.ShapeDtypeStruct` has them.
      content: the array or number itself, of constants and literals; None otherwise.
      view: where a folded value comes from, else None.
    """

    name: str
    kind: str
    aval: Any
    content: Any = None
    view: View | None = None


class View(NamedTuple):
    """How a folded value is read off another.

    Attributes:
      base: the index in `Program.values` of the value that it shows.
      shape: of its name; the value is that, or broadcast from that as NumPy does.
      ranges: per axis of the base (first, past the last), empty where it is no block of the base as it stands.
      squeezed: the axes of the base that are left out.
    """

    base: int
    shape: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...] = ()
    squeezed: tuple[int, ...] = ()

    def entry(self) -> tuple[int, ...] | None:
        """Return the index of the single entry that is shown, None where more is."""
        single = len(self.ranges) > 0 and len(self.squeezed) == len(self.ranges)
        return tuple(first for first, _ in self.ranges) if single else None


class Operation(NamedTuple):
    """One elementary operation.

    Attributes:
      name: JAX's name of it, for a call that of the called function.
      kind: "primitive", "call" (jit, checkpoint), "rule" (custom_jvp, custom_vjp), "scan", "while" or "cond".
      inputs: indices in `Program.values`.
      outputs: indices in `Program.values`, None for what nobody uses.
      equation: the equation of the jaxpr.
      folded: whether it only moves numbers and folds into its users.
    """

    name: str
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]
    equation: JaxprEqn
    folded: bool


class Program(NamedTuple):
    """What a function does.

    Attributes:
      values: every value, in the order in which they are made.
      inputs: indices of the inputs, one for each leaf of x.
      operations: in the order of evaluation.
      outputs: indices of the outputs, one for each leaf of f(x).
      input_tree: the structure of x, None within a body.
      output_tree: the structure of f(x), None within a body.
      calls: "open" or "closed".
      fold: whether operations that only move numbers fold.
      depth: how deep it is nested, from 0.
      opened: whether a call was opened.
    """

    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]
    input_tree: Any
    output_tree: Any
    calls: str
    fold: bool
    depth: int
    opened: bool

    def users(self, value: int) -> list[int]:
        """Return the operations that use a value, those that use it through folded ones in their place."""
        found: list[int] = []
        for i, operation in enumerate(self.operations):
            if value in operation.inputs:
                found += (
                    [j for v in operation.outputs if v is not None for j in self.users(v)] if operation.folded else [i]
                )
        return sorted(set(found))

    def direct_users(self, value: int) -> list[int]:
        """Return the operations that use a value itself, folded ones too."""
        return [k for k, operation in enumerate(self.operations) if value in operation.inputs]

    def entries(self, value: int) -> dict[str, list[int]]:
        """Return the folded values that show a single entry of a value, by their name."""
        found: dict[str, list[int]] = {}
        for i, v in enumerate(self.values):
            if v.view is not None and v.view.base == value and v.view.entry() is not None and v.aval.shape == ():
                found.setdefault(v.name, []).append(i)
        return found

    def sources(self, entries: dict[str, list[int]]) -> list[int]:
        """Return the folded operations that entries are made by, through folded ones."""
        makers = {i: k for k, operation in enumerate(self.operations) for i in operation.outputs if i is not None}
        found, open_ = [], [i for group in entries.values() for i in group]
        while open_:
            k = makers.get(open_.pop())
            if k is not None and self.operations[k].folded:
                found.append(k)
                open_ += self.operations[k].inputs
        return found


def trace(f: Callable[[Any], Any], x: Any, *, calls: str = "open", fold: bool = True) -> Program:
    """Return the program of f at arguments like x.

    Args:
      f: a function of one tree that JAX can trace, with any tree of arrays as its value.
      x: a tree of arrays or numbers; only shapes and dtypes matter.
      calls: "open" puts the operations of a function under `jax.jit` in the place of its call, "closed" leaves the call
        as one operation.
      fold: whether operations that only move numbers fold into their users.

    Returns:
      The program.

    Raises:
      ValueError: if `calls` is neither word.
      TypeError: if `fold` is no boolean or a leaf of x is no array.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff.program import trace
      >>> [operation.name for operation in trace(lambda x: jnp.sin(x[0]) * x[1], jnp.ones(2)).operations if not operation.folded]
      ['sin', 'mul']
    """
    validate.choice("trace", "calls", calls, CALLS)
    validate.flag("trace", "fold", fold)
    # JAX keeps what it traced by the function itself; one of its own is traced anew, as what f calls may have changed.
    closed, shape = jax.make_jaxpr(lambda x: f(x), return_shape=True)(x)
    root = parameter_name(f)
    names = [root + jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(x)]
    entries = tuple(getattr(f, "entry_names", ())) if len(names) == 1 else ()
    writer = _Writer(calls, fold, 0, entries)
    writer.begin(closed, names)
    return writer.program(jax.tree.structure(x), jax.tree.structure(shape))


def nested(closed: ClosedJaxpr, names: Sequence[str], outer: Program) -> Program:
    """Return the program of a body within another program, its inputs named as told."""
    writer = _Writer(outer.calls, outer.fold, outer.depth + 1, ())
    writer.begin(closed, names)
    return writer.program(None, None)


def bodies(operation: Operation) -> dict[str, ClosedJaxpr]:
    """Return the programs within an operation, as JAX has them: by "body", "condition", "branch 0", ..., "call"."""
    params = operation.equation.params
    if operation.kind == "while":
        return {"condition": params["cond_jaxpr"], "body": params["body_jaxpr"]}
    if operation.kind == "cond":
        return {f"branch {i}": branch for i, branch in enumerate(params["branches"])}
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if inner is None:
        return {}
    return {
        "body" if operation.kind == "scan" else "call": ClosedJaxpr(inner, []) if isinstance(inner, Jaxpr) else inner
    }


def as_function(equation: JaxprEqn) -> Callable[..., list[Any]]:
    """Return an equation as a function from one value for each operand, used twice or not, to the list of its outputs."""
    template = _variables(equation.invars, len(equation.outvars))
    operands: list[Any] = list(template.invars)
    outputs = _variables(equation.outvars, 0).invars
    single = template.replace(outvars=outputs, eqns=[equation.replace(invars=operands, outvars=outputs)])
    return jaxpr_as_fun(ClosedJaxpr(single, []))


def parameter_name(f: Callable[..., Any]) -> str:
    """Return the name of a function's first parameter, "x" where it has none that can be read."""
    try:
        first = next(iter(inspect.signature(f).parameters.values()), None)
    except (TypeError, ValueError):
        return "x"
    return "x" if first is None or first.kind is inspect.Parameter.VAR_POSITIONAL else first.name


def kind_of(equation: JaxprEqn) -> str:
    """Return the kind of an operation, told from what it holds: names differ between versions of JAX."""
    params = equation.params
    if "cond_jaxpr" in params:
        return "while"
    if "branches" in params:
        return "cond"
    if "num_carry" in params:
        return "scan"
    if "jvp_jaxpr_fun" in params or "bwd" in params:
        return "rule"
    return "call" if "jaxpr" in params and ("donated_invars" in params or "prevent_cse" in params) else "primitive"


def name_of(equation: JaxprEqn, kind: str) -> str:
    """Return the name of an operation: of a call, that of the function called."""
    called = equation.params.get("name")
    if called is None and kind == "rule":
        called = getattr(getattr(equation.params["call_jaxpr"].jaxpr, "debug_info", None), "func_name", None)
    return str(called or equation.primitive.name)


def as_text(number: Any) -> str:
    """Return a Python number as text; floating ones with seven digits."""
    return f"{number:.{DIGITS}g}" if isinstance(number, (float, complex)) else str(number)


def _variables(variables: Sequence[Any], outputs: int) -> Jaxpr:
    """Return a program with new inputs like some variables, and so many outputs: JAX makes no variables otherwise."""
    return _template(tuple(v.aval for v in variables), outputs)


@functools.lru_cache(maxsize=TEMPLATES)
def _template(avals: tuple[Any, ...], outputs: int) -> Jaxpr:
    return jax.make_jaxpr(lambda *_: [0] * outputs)(*avals).jaxpr


class _Writer:
    """Writes a program down, equation by equation."""

    def __init__(self, calls: str, fold: bool, depth: int, entries: tuple[str, ...]) -> None:
        self.calls, self.fold, self.depth, self.entries = calls, fold, depth, entries
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.inputs: tuple[int, ...] = ()
        self.outputs: tuple[int, ...] = ()
        self.constants = self.made = 0
        self.opened = False
        self.letter = LETTERS[depth % len(LETTERS)]

    def program(self, input_tree: Any, output_tree: Any) -> Program:
        values, operations = tuple(self.values), tuple(self.operations)
        trees = (input_tree, output_tree)
        return Program(
            values, self.inputs, operations, self.outputs, *trees, self.calls, self.fold, self.depth, self.opened
        )

    def begin(self, closed: ClosedJaxpr, names: Sequence[str]) -> None:
        taken = {name[0] for name in names if name[1:].isdecimal()}  # a function of `a1`, say
        self.letter = next((letter for letter in self.letter + LETTERS if letter not in taken), self.letter)
        self.inputs = tuple(
            self.add(Value(name, "input", v.aval)) for name, v in zip(names, closed.jaxpr.invars, strict=True)
        )
        self.outputs = self.walk(closed, self.inputs)

    def walk(self, closed: ClosedJaxpr, inputs: Sequence[int]) -> tuple[int, ...]:
        """Write down the equations and return the outputs, which never fold."""
        jaxpr = closed.jaxpr
        known: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))
        known |= {v: self.constant(v, c) for v, c in zip(jaxpr.constvars, closed.consts, strict=True)}
        shown = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
        for equation in jaxpr.eqns:
            operands = tuple(self.constant(v, v.val) if isinstance(v, Literal) else known[v] for v in equation.invars)
            if self.calls == "open" and "donated_invars" in equation.params and "jaxpr" in equation.params:
                made, self.opened = self.walk(equation.params["jaxpr"], operands), True
            else:
                made = self.operation(equation, operands, shown)
            known |= {v: i for v, i in zip(equation.outvars, made, strict=True) if i is not None}
        return tuple(self.constant(v, v.val) if isinstance(v, Literal) else known[v] for v in jaxpr.outvars)

    def operation(self, equation: JaxprEqn, operands: tuple[int, ...], shown: set[Any]) -> list[int | None]:
        view = None if not self.fold or shown & set(equation.outvars) else self.view(equation, operands)
        made: list[int | None] = []
        for v in equation.outvars:
            if type(v).__name__ == "DropVar":
                made.append(None)
            elif view is not None:
                made.append(self.add(Value(self.label(view), "intermediate", v.aval, view=view)))
            else:
                self.made += 1
                made.append(self.add(Value(f"{self.letter}{self.made}", "intermediate", v.aval)))
        kind, folded = kind_of(equation), view is not None
        self.operations.append(Operation(name_of(equation, kind), kind, operands, tuple(made), equation, folded))
        return made

    def add(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def constant(self, variable: Any, content: Any) -> int:
        if not jnp.issubdtype(variable.aval.dtype, jax.dtypes.extended):
            content = jnp.asarray(content, variable.aval.dtype)  # a Python number, too
            if content.ndim == 0:
                return self.add(Value(as_text(content.item()), "literal", variable.aval, content))
        self.constants += 1
        return self.add(Value(f"const{self.constants}", "constant", variable.aval, content))

    def view(self, equation: JaxprEqn, operands: tuple[int, ...]) -> View | None:
        """Return what an operation shows of its operand, None where it does more than move numbers."""
        name, params = equation.primitive.name, equation.params
        moves = name in (*MOVES, "slice", "convert_element_type") and len(operands) == 1
        if not moves or (name == "convert_element_type" and not _floats(equation)):
            return None
        result: Any = equation.outvars[0].aval
        operand, made = self.values[operands[0]], result.shape
        earlier = operand.view or View(operands[0], operand.aval.shape)
        base, whole = self.values[earlier.base].aval.shape, earlier.shape == operand.aval.shape
        if name == "slice":
            if earlier.ranges or not whole or earlier.shape != base or any(s != 1 for s in params["strides"] or ()):
                return earlier if made == operand.aval.shape and not params["strides"] else None
            ranges = tuple(zip(params["start_indices"], params["limit_indices"], strict=True))
            return earlier._replace(ranges=ranges, shape=made)
        left = [axis for axis in range(len(earlier.ranges)) if axis not in earlier.squeezed]
        block = _block(earlier, base)
        if name == "squeeze" and left and whole and earlier.shape == block:
            dropped = (left[i] for i in params["dimensions"])
            return earlier._replace(squeezed=tuple(sorted((*earlier.squeezed, *dropped))), shape=made)
        if name == "broadcast_in_dim":
            axes = params["broadcast_dimensions"]
            if axes != tuple(range(len(made) - len(axes), len(made))):
                made = tuple(operand.aval.shape[axes.index(i)] if i in axes else 1 for i in range(len(made)))
            else:  # NumPy broadcasts so, too
                made = earlier.shape
        return _reshaped(earlier, made, block, whole)

    def label(self, view: View) -> str:
        """Return a view as Python writes it: `t[1]`, `a3[0, 2:4]`."""
        base = self.values[view.base]
        entry = view.entry()
        if base.kind == "input" and entry and len(entry) == 1 and entry[0] < len(self.entries):
            return self.entries[entry[0]]
        parts = [
            str(first) if axis in view.squeezed else ":" if (first, last) == (0, size) else f"{first}:{last}"
            for axis, ((first, last), size) in enumerate(zip(view.ranges, base.aval.shape, strict=False))
        ]
        while parts and parts[-1] == ":":
            parts.pop()
        name = f"{base.name}[{', '.join(parts)}]" if parts else base.name
        shape = ", ".join(map(str, view.shape))
        return name if view.shape == _block(view, base.aval.shape) else f"{name}.reshape({shape})"


def _block(view: View, base: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what a view reads off its base, as it stands there."""
    if not view.ranges:
        return base
    return tuple(last - first for axis, (first, last) in enumerate(view.ranges) if axis not in view.squeezed)


def _reshaped(view: View, shape: tuple[int, ...], block: tuple[int, ...], whole: bool) -> View | None:
    """Return a view in another shape, None where it is broadcast before. Axes in front of size one need no word."""
    if math.prod(view.shape) == 1 or without_ones(shape) == without_ones(view.shape):
        return view
    if not whole:
        return None
    return view._replace(shape=block if without_ones(shape) == without_ones(block) else shape)


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the axes of size one in front."""
    first = next((axis for axis, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def _floats(equation: JaxprEqn) -> bool:
    """Return whether a change of dtype is one between floating dtypes, or none."""
    ends: tuple[Any, ...] = (equation.invars[0].aval, equation.outvars[0].aval)
    old, new = (end.dtype for end in ends)
    return old == new or (jnp.issubdtype(old, jnp.floating) and jnp.issubdtype(new, jnp.floating))

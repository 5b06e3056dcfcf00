# SPDX-License-Identifier: Apache-2.0
"""The computational graph of a function: a node for each row of its evaluation table, an edge for each use of a value.

The edges go from what is used to what uses it, so values and tangents come with them and adjoints against them. A value
that is used twice has two edges, and its adjoint is the sum of what comes back along both. Numbers that stand in the
function have no node; they are in the formulas. A graph is written in the language of Graphviz, which needs nothing, and
drawn as SVG, PNG or PDF by pygraphviz, whose wheels bring Graphviz along: `pip install 'jopt[graph]'`.

References: Kantorovich (1957), On a mathematical symbolism convenient for performing machine calculations, Doklady
Akademii Nauk SSSR 113(4) (the graph); Bauer (1974), Computational graphs and rounding error, SIAM Journal on Numerical
Analysis 11(1), doi:10.1137/0711010; https://graphviz.org/doc/info/lang.html (the language).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jopt import validate
from jopt.autodiff.rendering import number
from jopt.autodiff.tables import Row, Table, forward_table, primal_table, reverse_table

MODES = ("primal", "forward", "reverse")
TEXT = (".dot", ".gv")
PICTURES = (".pdf", ".png", ".svg")
SHAPES = {"input": "shape=box", "constant": "shape=box, style=dashed"}
HEAD = "compound=true; node [shape=ellipse, fontsize=11]; edge [arrowsize=0.7];"


class Edge(NamedTuple):
    """One use of a value.

    Attributes:
      source: the index in `Graph.nodes` of the value that is used.
      target: the index of the node that uses it.
    """

    source: int
    target: int


class Graph(NamedTuple):
    """A computational graph; it prints as Graphviz source, and in notebooks as a picture where pygraphviz is installed.

    Attributes:
      mode: "primal", "forward" or "reverse".
      nodes: the rows of the evaluation table, in the order of evaluation; what is within a loop or a branch is the `body`
        of a node, a table of its own.
      edges: the uses of values, in the order of their targets and, within a target, of its formula.
      outputs: for each leaf of f(x) the index of its node, None for a number, which has none.
    """

    mode: str
    nodes: tuple[Row, ...]
    edges: tuple[Edge, ...]
    outputs: tuple[int | None, ...]

    def __repr__(self) -> str:
        return self.to_dot()

    __str__ = __repr__

    def to_dot(self) -> str:
        """Return the graph as Graphviz source."""
        return "\n".join([f"digraph {self.mode} {{", f"  {HEAD}", *_statements(self, "n", "  "), "}"])

    def to_svg(self) -> str:
        """Return the drawn graph as SVG.

        Raises:
          ImportError: if pygraphviz is not installed.
        """
        return _drawn(self.to_dot(), "svg").decode()

    def to_png(self) -> bytes:
        """Return the drawn graph as PNG.

        Raises:
          ImportError: if pygraphviz is not installed.
        """
        return _drawn(self.to_dot(), "png")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph to a file.

        Args:
          path: ends in .dot or .gv for the source, in .svg, .png or .pdf for a picture.

        Raises:
          ValueError: if it ends in anything else.
          ImportError: if a picture is asked for and pygraphviz is not installed.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in TEXT + PICTURES:
            msg = f"Graph.save: path must end in one of {', '.join(TEXT + PICTURES)}, got {str(path)!r}."
            raise ValueError(msg)
        source = self.to_dot()
        path.write_bytes(f"{source}\n".encode() if kind in TEXT else _drawn(source, kind[1:]))

    def _repr_svg_(self) -> str | None:
        try:
            return self.to_svg()
        except ImportError:
            return None


def graph(
    f: Callable[[Any], Any],
    x: Any,
    *,
    mode: str = "primal",
    v: Any = None,
    cotangent: Any = None,
    calls: str = "open",
    fold: bool = True,
) -> Graph:
    """Return the computational graph of f at x.

    Args:
      f: a function of one tree, with any tree as its value. A graph has a node for every operation: choose it small.
      x: a tree of arrays or numbers.
      mode: what stands on the nodes: "primal" the values, "forward" also the tangents along v, "reverse" also the adjoints.
      v: with mode "forward" a tree like x, the direction; else None.
      cotangent: with mode "reverse" a tree like f(x), the weights of the outputs, or None for a single real number as
        output, whose weight is one; else None.
      calls: whether a function under `jax.jit` is "open" (its operations are nodes) or "closed" (it is one node).
      fold: whether operations that only move numbers (static indices, reshapes, broadcasts) are shown within the
        formulas of their users instead of as nodes of their own.

    Returns:
      The graph. Calls with a rule of their own and checkpointed calls are one node. A loop is one node with one of its
      trips, cond with the branch taken, drawn as a box beside it.

    Raises:
      ValueError: if `mode` or `calls` is none of its words, v is missing or not like x, v or a cotangent is given for another
        mode, or as `forward_table` and `reverse_table` do.
      TypeError: if x is traced, or as `forward_table` and `reverse_table` do.

    Reference: Griewank and Walther (2008), Evaluating derivatives, 2nd edition, SIAM, section 2.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import graph
      >>> made = graph(lambda t: t * jnp.exp(t), 0.0, mode="reverse")
      >>> [(made.nodes[edge.source].name, made.nodes[edge.target].name) for edge in made.edges]
      [('t', 'a1'), ('t', 'a2'), ('a1', 'a2')]
      >>> [float(node.adjoint) for node in made.nodes]
      [1.0, 0.0, 1.0]
    """
    validate.choice("graph", "mode", mode, MODES)
    for argument, value, owner in (("v", v, "forward"), ("cotangent", cotangent, "reverse")):
        if value is not None and mode != owner:
            msg = f"graph: {argument} must be None with mode={mode!r}; it is for mode={owner!r}."
            raise ValueError(msg)
    if mode == "primal":
        return _of(primal_table("graph", f, x, calls=calls, fold=fold))
    if mode == "reverse":
        return _of(reverse_table(f, x, cotangent, calls=calls, fold=fold))
    if v is None:
        msg = "graph: v must be a tree like x with mode='forward', the direction of the tangents, got None."
        raise ValueError(msg)
    return _of(forward_table(f, x, v, calls=calls, fold=fold))


def _of(table: Table) -> Graph:
    """Return a table as a graph."""
    edges = (Edge(source, target) for target, row in enumerate(table.rows) for source in row.operands)
    return Graph(table.mode, table.rows, tuple(edges), table.outputs)


def _statements(made: Graph, prefix: str, margin: str) -> list[str]:
    """Return the nodes, edges and bodies of a graph in Graphviz's language; `prefix` begins the name of each node."""
    lines = [
        f'{margin}{prefix}{k} [label="{_label(made.mode, row)}"{_style(row, k in made.outputs)}];'
        for k, row in enumerate(made.nodes)
    ]
    lines += [f"{margin}{prefix}{edge.source} -> {prefix}{edge.target};" for edge in made.edges]
    for k, row in enumerate(made.nodes):
        if row.body is not None and row.body.rows:
            body, cluster = f"{prefix}{k}_", f"cluster_{prefix}{k}"
            lines += [
                f'{margin}subgraph {cluster} {{ label="{_escaped(f"within {row.name}: {row.body.title}")}"; style=dotted;',
                *_statements(_of(row.body), body, f"{margin}  "),
                f"{margin}}}",
                # From the last node within, cut off at the border of the box.
                f"{margin}{body}{len(row.body.rows) - 1} -> {prefix}{k} [ltail={cluster}, style=dotted, arrowhead=none];",
            ]
    return lines


def _label(mode: str, row: Row) -> str:
    """Return what stands on a node: name and formula, value, derivative."""
    lines = [f"{row.name} = {row.formula}" if row.formula else row.name, number(row.value)]
    if mode == "forward":
        lines.append(f"tangent {number(row.tangent)}")
    if mode == "reverse":
        lines.append(f"adjoint {number(row.adjoint)}")
    return r"\n".join(map(_escaped, lines))


def _style(row: Row, output: bool) -> str:
    """Return the attributes of a node: inputs are boxes, constants dashed ones, outputs have a double border."""
    shape = SHAPES.get(row.operation if not row.formula else "", "")
    return "".join(f", {part}" for part in (shape, "peripheries=2" if output else "") if part)


def _escaped(text: str) -> str:
    """Return text for a quoted label, where Graphviz reads quotes, backslashes and, as HTML does, ampersands."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", r"\n")


def _drawn(source: str, form: str) -> bytes:
    """Return a drawn graph."""
    try:
        pygraphviz = importlib.import_module("pygraphviz")
    except ImportError as error:
        msg = (
            "Graph: a picture needs pygraphviz, which brings Graphviz along: pip install 'jopt[graph]'. "
            "to_dot() gives the source without it."
        )
        raise ImportError(msg) from error
    return pygraphviz.AGraph(string=source).draw(format=form, prog="dot")

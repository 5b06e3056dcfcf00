# SPDX-License-Identifier: Apache-2.0
"""Computational graphs: the textbook's nodes and edges, the tables' numbers, and valid Graphviz source."""

import html
import math
import re
import sys
import xml.etree.ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jopt.autodiff import forward_table, graph, parse, parse_point, reverse_table

QUOTED = r'"((?:[^"\\]|\\["\\n])*)"'
LINES = {  # a small part of Graphviz's grammar, one statement a line
    "head": re.compile(r"digraph \w+ \{"),
    "defaults": re.compile(r"compound=true; (node|edge) \[[\w=, ]*\]; (node|edge) \[[\w=,. ]*\];"),
    "node": re.compile(rf"(\w+) \[label={QUOTED}(?:, \w+=\w+)*\];"),
    "edge": re.compile(r"(\w+) -> (\w+)(?: \[ltail=(\w+)(?:, \w+=\w+)*\])?;"),
    "cluster": re.compile(rf"subgraph (cluster_\w+) \{{ label={QUOTED}; style=dotted;"),
    "end": re.compile(r"\}"),
}
STRANGE = 'w"<b>&amp;\\ |{'


def parsed(source):
    """Return labels by node, edges (from, to, cluster cut off at) and labels by cluster of Graphviz source."""
    labels, edges, clusters, depth = {}, [], {}, 0
    for line in source.splitlines():
        kind, match = next((kind, m) for kind, form in LINES.items() if (m := form.fullmatch(line.strip())))
        assert (kind == "head") == (depth == 0), line
        depth += (kind in {"head", "cluster"}) - (kind == "end")
        if kind == "edge":
            edges.append(match.groups())
        elif kind in {"node", "cluster"}:
            (labels if kind == "node" else clusters)[match[1]] = text(match[2])
    assert depth == 0
    assert {end for edge in edges for end in edge[:2]} <= set(labels)
    assert {edge[2] for edge in edges if edge[2]} == set(clusters)
    return labels, edges, clusters


def text(quoted):
    """Return what Graphviz draws for the inside of a quoted label."""
    raw = re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), quoted)
    return html.unescape(raw)


def named(made):
    """Return the edges by the names of their ends."""
    return [(made.nodes[edge.source].name, made.nodes[edge.target].name) for edge in made.edges]


@pytest.fixture(scope="module")
def textbook():
    return parse("sin(t1*t2) + exp(t2+t3) - 2*t3"), jnp.asarray(parse_point("pi/6, 2, 5"))


@jax.custom_vjp
def pulled(x):
    return x * x


pulled.defvjp(lambda x: (x * x, x), lambda x, c: (2.0 * x * c,))


def looped(x):
    return lax.scan(lambda c, y: (c * y * x, c + y), x, jnp.array([2.0, 3.0, 5.0]))


def test_nodes_and_edges_of_the_textbook(textbook):
    made = graph(*textbook)
    assert [(node.name, node.formula) for node in made.nodes] == [
        ("t1", ""), ("t2", ""), ("t3", ""), ("a1", "t1 * t2"), ("a2", "t2 + t3"), ("a3", "2 * t3"), ("a4", "sin(a1)"),
        ("a5", "exp(a2)"), ("a6", "a4 + a5"), ("a7", "a6 - a3"),
    ]  # fmt: skip
    assert named(made) == [
        ("t1", "a1"), ("t2", "a1"), ("t2", "a2"), ("t3", "a2"), ("t3", "a3"), ("a1", "a4"), ("a2", "a5"), ("a4", "a6"),
        ("a5", "a6"), ("a6", "a7"), ("a3", "a7"),
    ]  # fmt: skip
    assert [made.nodes[k].name for k in made.outputs] == ["a7"]
    labels, edges, clusters = parsed(str(made))
    assert labels["n6"] == "a4 = sin(a1)\n0.8660254"
    assert [(a, b) for a, b, _ in edges] == [(f"n{edge.source}", f"n{edge.target}") for edge in made.edges]
    assert clusters == {}


def test_numbers_on_the_nodes_are_those_of_the_tables(textbook):
    f, t = textbook
    v = jnp.array([0.0, 1.0, 0.0])
    forward, reverse = graph(f, t, mode="forward", v=v), graph(f, t, mode="reverse")
    table, adjoints = forward_table(f, t, v), {a.name: a.value for a in reverse_table(f, t).adjoints}
    assert [(float(n.value), float(n.tangent)) for n in forward.nodes] == [(r.value, r.tangent) for r in table.rows]
    assert {n.name: float(n.adjoint) for n in reverse.nodes} == {n: float(a) for n, a in adjoints.items() if n != "t"}
    assert [float(n.adjoint) for n in reverse.nodes[:3]] == pytest.approx(
        [1, math.pi / 12 + math.exp(7), math.exp(7) - 2], rel=1e-14
    )
    assert parsed(str(forward))[0]["n6"] == "a4 = sin(a1)\n0.8660254\ntangent 0.2617994"
    assert parsed(str(reverse))[0]["n3"] == "a1 = t1 * t2\n1.047198\nadjoint 0.5"


def test_each_mode_shows_its_own_derivative_and_no_other(textbook):
    f, t = textbook
    shown = [parsed(str(graph(f, t, mode=mode, v=t if mode == "forward" else None)))[0]["n9"].count("\n") for mode in
             ("primal", "forward", "reverse")]  # fmt: skip
    assert shown == [1, 2, 2]
    primal = graph(f, t)
    assert primal.mode == "primal"
    assert all(node.tangent is None and node.adjoint is None for node in primal.nodes)
    weighted = graph(lambda x: x * 2, jnp.ones(2), mode="reverse", cotangent=jnp.array([3.0, 5.0]))
    np.testing.assert_array_equal(weighted.nodes[0].adjoint, [6, 10])


def test_value_used_twice_has_two_edges_and_a_number_none():
    made = graph(lambda x: x * x + 2.0, 3.0)
    assert named(made) == [("x", "a1"), ("x", "a1"), ("a1", "a2")]
    assert str(made).count("n0 -> n1;") == 2


def test_entries_of_an_input_are_nodes_only_where_nothing_uses_the_whole():
    def f(t):
        block = t[1:2]
        return t[0] * jnp.sin(t[0]) + block * lax.squeeze(block, (0,))

    made = graph(f, jnp.ones(3))
    assert [node.name for node in made.nodes][:2] == ["t[0]", "t[1]"]
    assert named(made) == [
        ("t[0]", "a1"), ("t[0]", "a2"), ("a1", "a2"), ("t[1]", "a3"), ("t[1]", "a3"), ("a2", "a4"), ("a3", "a4"),
    ]  # fmt: skip
    made = graph(lambda t: t * t[0], jnp.ones(3))
    assert named(made) == [("t", "a1"), ("t", "a1")]


def test_folded_operation_is_read_through_to_its_source():
    def f(x):
        return jnp.sin(x["w"]).reshape(2, 2).T.reshape(-1) * 2.0

    x = {"w": jnp.ones(4)}
    folded, plain = (graph(f, x, fold=fold) for fold in (True, False))
    assert [node.operation for node in folded.nodes] == ["input", "sin", "transpose", "mul"]
    assert named(folded) == [("x['w']", "a1"), ("a1", "a2"), ("a2", "a3")]
    assert [node.operation for node in plain.nodes][2:4] == ["reshape", "transpose"]


def test_closed_call_is_one_node():
    f = jax.jit(lambda x: jnp.sin(x) * 2)
    assert [node.operation for node in graph(f, 1.0).nodes] == ["input", "sin", "mul"]
    assert len(graph(f, 1.0, calls="closed").nodes) == 2


def test_outputs_are_marked_even_where_they_are_used():
    made = graph(lambda x: (jnp.sin(x), jnp.sin(x) * 2, x, 3.0), 1.0)
    assert [None if k is None else made.nodes[k].name for k in made.outputs] == ["a1", "a3", "x", None]
    assert [re.search(rf"n{k} \[.*peripheries=2", str(made)) is not None for k in range(4)] == [True, True, False, True]


def test_constants_are_nodes():
    matrix = jnp.arange(4.0).reshape(2, 2)
    made = graph(lambda x: matrix @ x, jnp.ones(2))
    assert [node.operation for node in made.nodes] == ["input", "constant", "dot_general"]
    assert named(made) == [("const1", "a1"), ("x", "a1")]
    assert "float64[2, 2] [0, 1, 2, ...]" in parsed(str(made))[0]["n1"]


def test_body_of_a_loop_is_a_cluster():
    forward = graph(looped, 7.0, mode="forward", v=1.0)
    labels, edges, clusters = parsed(str(forward))
    assert clusters == {"cluster_n2": "within a1: first of 3 trips"}
    assert labels["n2_3"] == "b1 = carry * each\n14\ntangent 2"
    assert {("n2_1", "n2_3"), ("n2_2", "n2_3"), ("n2_3", "n2_4"), ("n2_0", "n2_4")} <= {(a, b) for a, b, _ in edges}
    assert [(b, tail) for _, b, tail in edges if tail] == [("n2", "cluster_n2")]
    labels, _, clusters = parsed(str(graph(looped, 7.0, mode="reverse", cotangent=(1.0, jnp.ones(3)))))
    assert clusters == {"cluster_n2": "within a1: last of 3 trips"}
    assert labels["n2_3"].endswith("adjoint 7")
    labels, _, clusters = parsed(str(graph(looped, 7.0)))
    assert clusters == {"cluster_n2": "within a1: first of 3 trips"}
    assert labels["n2_3"] == "b1 = carry * each\n14"


def test_branch_taken_is_a_cluster_and_a_loop_without_trips_has_none():
    made = graph(lambda x: lax.cond(x > 1, jnp.sin, lambda y: lax.fori_loop(0, 0, lambda _, z: z * y, y), x), 0.5)
    assert parsed(str(made))[2] == {"cluster_n3": "within a3: branch 0 of 2, from 0"}
    assert [node.body is not None for node in made.nodes] == [False, False, False, True]
    assert all(row.body is None for row in made.nodes[3].body.rows)


def test_primal_graph_needs_no_derivative_rules():
    made = graph(lambda x: lax.while_loop(lambda c: c < 9, lambda c: c * x, pulled(x)), 2.0)
    assert [float(node.value) for node in made.nodes] == [2, 4, 16]
    assert made.nodes[2].body.mode == "primal"
    assert "tangent" not in str(made.nodes[2].body)


@pytest.mark.parametrize("fold", [True, False])
def test_source_is_valid_for_strange_names(fold):
    x = {STRANGE: jnp.ones(2, jnp.bfloat16), "n": jnp.arange(2)}
    made = graph(lambda a1: jnp.sum(a1[STRANGE] * a1["n"]) > 1, x, fold=fold)
    labels, _, _ = parsed(str(made))
    name = f"a1{jax.tree_util.keystr((jax.tree_util.DictKey(STRANGE),))}"
    assert labels["n1"].split("\n")[0] == name
    assert any(name in label for node, label in labels.items() if node != "n1")
    pytest.importorskip("pygraphviz")
    drawn = xml.etree.ElementTree.fromstring(made.to_svg())
    assert name in [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]


def test_names_of_inputs_and_intermediates_differ():
    made = graph(lambda a1: a1 * a1, 3.0, mode="reverse")
    assert [node.name for node in made.nodes] == ["a1", "b1"]
    assert [float(node.adjoint) for node in made.nodes] == [6, 1]


def test_pictures_are_drawn(tmp_path):
    pytest.importorskip("pygraphviz")
    made = graph(looped, 7.0)
    assert made._repr_svg_() == made.to_svg()
    assert made.to_svg().rstrip().endswith("</svg>")
    assert made.to_svg().count('class="edge"') == len(made.edges) + 6 + 1  # those within, and the line to the box
    assert made.to_png().startswith(b"\x89PNG")
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        path = tmp_path / f"picture{suffix.upper()}"
        made.save(path)
        assert path.read_bytes().startswith(start)


def test_source_is_saved_without_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    made = graph(jnp.sin, 1.0)
    assert made._repr_svg_() is None
    for name in ("graph.dot", "graph.gv"):
        made.save(str(tmp_path / name))
        assert (tmp_path / name).read_text(encoding="utf-8") == f"{made}\n"
    for drawn in (made.to_svg, made.to_png, lambda: made.save(tmp_path / "graph.svg")):
        with pytest.raises(ImportError, match=r"needs pygraphviz, .*pip install 'jopt\[graph\]'"):
            drawn()


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"graph: mode must be one of .*'reverse'.*got 'revers'"):
        graph(jnp.sin, 1.0, mode="revers")
    with pytest.raises(ValueError, match="graph: v must be a tree like x with mode='forward'"):
        graph(jnp.sin, 1.0, mode="forward")
    with pytest.raises(ValueError, match="graph: v must be None with mode='primal'; it is for mode='forward'"):
        graph(jnp.sin, 1.0, v=1.0)
    with pytest.raises(ValueError, match="graph: cotangent must be None with mode='forward'; it is for mode='reverse'"):
        graph(jnp.sin, 1.0, mode="forward", v=1.0, cotangent=1.0)
    with pytest.raises(ValueError, match="graph: calls must be one of"):
        graph(jnp.sin, 1.0, calls="clsoed")
    with pytest.raises(TypeError, match="graph: fold must be True or False"):
        graph(jnp.sin, 1.0, fold=1)
    with pytest.raises(TypeError, match="graph: x must be numbers, got traced values"):
        jax.jit(lambda x: graph(jnp.sin, x).nodes[0].value)(1.0)
    with pytest.raises(ValueError, match=r"Graph.save: path must end in one of .dot, .*got '.*graph\.txt'"):
        graph(jnp.sin, 1.0).save(tmp_path / "graph.txt")

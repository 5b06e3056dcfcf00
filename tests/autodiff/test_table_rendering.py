# SPDX-License-Identifier: Apache-2.0
"""How tables look: text, Markdown, HTML and LaTeX."""

import html.parser
import math
import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jopt.autodiff import forward_table, reverse_table


def test_text_is_aligned_and_abridges_arrays():
    table = forward_table(
        lambda t: jnp.sum(t["w|<&_"] @ t["w|<&_"]), {"w|<&_": jnp.full((3, 3), math.pi)}, {"w|<&_": jnp.ones((3, 3))}
    )
    lines = str(table).splitlines()
    assert repr(table) == str(table)
    assert len({len(line) for line in lines}) == 1
    assert "float64[3, 3] [3.141593, 3.141593, 3.141593, ...]" in lines[2]
    assert lines[0].split() == ["name", "operation", "value", "tangent"]


def test_reverse_text_lists_contributions():
    text = str(reverse_table(lambda t: t * jnp.exp(t), 0.0))
    assert "t           1  1 from a2 + 0 from a1" in text


def test_markdown_escapes_and_nests():
    x = {"w|`": jnp.float32(2)}
    table = reverse_table(lambda t: lax.scan(lambda c, y: (c * y, None), t["w|`"], jnp.ones(2, jnp.float32))[0], x)
    text = table.to_markdown()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}
    assert r"`t['w\|'']`" in text
    assert "Within `a1`:" in text
    assert "forward pass" in text
    assert "reverse pass" in text


@pytest.mark.parametrize("key", [jax.random.key, jax.random.PRNGKey])
def test_random_keys_are_shown_by_their_kind(key):
    x = {"k": key(1), "w": jnp.ones(3, jnp.float32)}
    table = reverse_table(lambda x: jnp.sum(x["w"] * jax.random.normal(x["k"], (3,), jnp.float32)), x, calls="closed")
    assert table.exact
    for shown in (str(table), table.to_markdown(), table.to_latex(), table._repr_html_()):
        assert re.search(r"key(<|&lt;|\\textless\{\})fry(>|&gt;|\\textgreater\{\})\[\]", shown)


def test_html_is_well_formed_and_escaped():
    class Reader(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.words = [], []

        def handle_starttag(self, tag, attrs):
            del attrs
            self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            self.words.append(data)

    x = {"<b>": jnp.float32(2)}
    table = forward_table(lambda t: lax.cond(t["<b>"] > 1, jnp.sin, jnp.cos, t["<b>"]), x, x)
    reader = Reader()
    reader.feed(table._repr_html_())
    assert reader.open == []
    assert "t['<b>']" in reader.words
    assert "branch 1 of 2, from 0" in reader.words


def test_latex_escapes_and_writes_powers_of_ten():
    x = {"a_b%&$#~^{}\\": jnp.float32(1e-20)}
    text = forward_table(lambda t: t["a_b%&$#~^{}\\"] * 3, x, x).to_latex()
    assert r"a\_b\%\&\$\#\~{}\^{}\{\}\textbackslash{}" in text
    assert r"$1 \cdot 10^{-20}$" in text
    assert text.count(r"\begin{tabular}{llrr}") == text.count(r"\end{tabular}") == 1
    nested = reverse_table(lambda x: lax.cond(x > 1, jnp.sin, jnp.cos, x), 2.0).to_latex()
    assert nested.count(r"\begin{tabular}") == nested.count(r"\end{tabular}") == 4

# SPDX-License-Identifier: Apache-2.0
"""The structure of every state is frozen, documented, and made of nothing but containers and arrays."""

import difflib
import functools
import inspect
import re
from pathlib import Path

import jax
import pytest
from state_structures import SEARCHES, lines, named_tuples, states, text

import jopt

FROZEN = Path(__file__).with_name("state_structures.txt")
PAGE = Path(__file__).parents[2] / "docs" / "saving.md"


@functools.cache
def all_states():
    return dict(states())


def test_no_structure_changes_by_accident():
    """A state that users saved must load: `state_structures.py` says what to do where a change is wanted."""
    difference = difflib.unified_diff(
        FROZEN.read_text().splitlines(), text().splitlines(), "frozen", "now", lineterm=""
    )
    assert "\n".join(difference) == ""


def test_states_hold_arrays_alone_none_of_them_empty_or_of_weak_type():
    for heading, state in all_states().items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            where = heading + jax.tree_util.keystr(path)
            assert isinstance(leaf, jax.Array), where
            assert leaf.size > 0, where  # orbax saves no empty arrays
            assert not getattr(leaf, "weak_type", False), where


@pytest.mark.parametrize(("leaf", "words"), [(1.0, "is 1.0"), (abs, "is <built-in"), ({1}, "is {1}")], ids=str)
def test_what_is_no_array_is_seen(leaf, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        list(lines((None, {"a": [leaf]})))


def test_every_field_of_every_state_is_documented_and_every_state_is_on_the_page():
    page = PAGE.read_text()
    for kind in sorted(named_tuples(all_states()), key=lambda kind: kind.__name__):
        if not kind.__module__.startswith("jopt."):
            assert kind.__name__ == "EmptyState", kind
            continue
        assert kind.__name__ in page, kind
        for name in kind._fields:
            assert re.search(rf"\b{name}\b[^:\n]*:", inspect.getdoc(kind)), (kind, name)


def test_the_list_holds_every_line_search():
    def makes_one(made):
        return inspect.isfunction(made) and inspect.signature(made).return_annotation in ("LineSearch", jopt.LineSearch)

    assert set(SEARCHES) == {name for name in jopt.linesearch.__all__ if makes_one(getattr(jopt.linesearch, name))}

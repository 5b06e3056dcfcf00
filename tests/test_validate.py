# SPDX-License-Identifier: Apache-2.0
"""The wording of errors, and what passes."""

import jax
import numpy as np
import pytest

from jopt import validate
from jopt.status import SearchStatus, Status, first_of


@pytest.mark.parametrize("value", [0.0, 0.5, np.float32(0.25), np.int64(0)])
def test_numbers_in_range_come_back_as_they_are(value):
    assert validate.number("f", "x", value, low=0.0, high=1.0, high_open=True) is value


@pytest.mark.parametrize(
    ("value", "error"),
    [(1.0, ValueError), (-0.1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError)],
)
def test_numbers_out_of_range_are_named_with_the_range(value, error):
    with pytest.raises(error, match=r"f: x must be .*\[0, 1\), got"):
        validate.number("f", "x", value, low=0.0, high=1.0, high_open=True)


@pytest.mark.parametrize("value", [True, 1.0, np.array(1.0), "1", None])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(TypeError, match="f: n must be a whole number >= 1"):
        validate.integer("f", "n", value, low=1)


def test_whole_numbers_of_any_kind_pass():
    for value in (1, np.int64(5), np.array(3)):
        assert validate.integer("f", "n", value, low=1) is value
    with pytest.raises(ValueError, match="f: n must be a whole number >= 1, got 0"):
        validate.integer("f", "n", 0, low=1)


def test_a_near_miss_is_answered_with_a_suggestion_and_a_far_one_with_the_hint():
    with pytest.raises(ValueError, match=r"'alpha', 'beta', got 'Alpah'. Did you mean 'alpha'\?"):
        validate.choice("f", "word", "Alpah", ["beta", "alpha"], hint="Try harder.")
    with pytest.raises(ValueError, match=r"Try harder\."):
        validate.choice("f", "word", "xyz", ["beta", "alpha"], hint="Try harder.")


def test_traced_values_pass():
    seen = []
    jax.eval_shape(lambda x: seen.append(validate.number("f", "x", x, low=5.0)) or x, 1.0)
    assert len(seen) == 1


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey, int, np.int64, np.uint32, jax.numpy.asarray])
def test_keys_and_whole_numbers_give_a_key(make):
    key = validate.random_key("f", "key", make(3))
    assert jax.random.bits(key) == jax.random.bits(jax.random.key(3))


@pytest.mark.parametrize("value", [None, True, 0.5, "0", np.zeros(2, np.uint32)])
def test_what_is_no_key_is_refused(value):
    with pytest.raises(
        TypeError, match=r"f: key must be one random key such as jax.random.key\(0\), or a whole number"
    ):
        validate.random_key("f", "key", value)
    with pytest.raises(TypeError, match="f: key must be one random key"):
        validate.random_key("f", "key", jax.random.split(jax.random.key(0)))


def test_every_status_has_a_sentence():
    for kind in (Status, SearchStatus):
        for status in kind:
            assert status.advice.endswith((".", "again."))
    assert {status for status in Status if status.success} == {
        Status.CONVERGED, Status.TARGET, Status.STEP, Status.DECREASE, Status.RELATIVE_DECREASE,
    }  # fmt: skip


def test_the_first_case_that_holds_decides():
    yes, no = np.bool_(True), np.bool_(False)
    assert int(first_of((no, 1), (yes, 2), (yes, 3), otherwise=4)) == 2
    assert int(first_of((no, 1), otherwise=4)) == 4

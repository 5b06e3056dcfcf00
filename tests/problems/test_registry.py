"""The problems by name."""

import pytest

from jopt import problems


def test_every_name_makes_the_problem_of_that_name():
    assert len(set(problems.names())) == len(problems.names()) == 15
    for name in problems.names():
        problem = problems.get(name)
        assert isinstance(problem, problems.Problem)
        assert problem.name == name
        assert getattr(problems, name)() == problem


def test_settings_reach_the_factory():
    assert problems.get("rosenbrock", n=7).starts[0].shape == (7,)


def test_unknown_names_are_answered_with_the_list_and_the_nearest():
    with pytest.raises(ValueError, match=r"get: name must be one of 'beale', .*Did you mean 'rosenbrock'\?"):
        problems.get("rosenbrok")


def test_public_names_exist_and_are_listed_once():
    assert len(set(problems.__all__)) == len(problems.__all__)
    assert set(problems.names()) < set(problems.__all__)
    assert all(hasattr(problems, name) for name in problems.__all__)

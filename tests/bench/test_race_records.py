"""The JSON form of a race: strict, complete, and back again."""

import json
import math

import pytest
from races import diverged_run, made_up_race, made_up_run

from jopt import bench


def test_json_round_trip_returns_equal_records_of_equal_types():
    race = made_up_race(evaluations=12, gtol=1e-5, seed=3, problems=("network",), methods=("adam", "lbfgs"))
    back = bench.from_json(bench.to_json(race))
    assert back == race
    assert [type(x) for x in back.runs[0]] == [type(x) for x in race.runs[0]]
    assert [type(x) for x in back.settings] == [type(x) for x in race.settings]
    assert bench.from_json(bench.to_json(made_up_race(gtol=None))).settings.gtol is None


def test_json_form_is_the_documented_one():
    form = json.loads(bench.to_json(made_up_race()))
    assert form["schema"] == 1
    assert set(form) == {"schema", "settings", "device", "versions", "runs"}
    assert tuple(form["settings"]) == bench.Settings._fields
    for run in form["runs"]:
        assert tuple(run) == bench.Run._fields
        assert tuple(run["history"]) == bench.Curve._fields
        assert len({len(column) for column in run["history"].values()}) == 1


def test_numbers_that_are_not_finite_are_null_in_strict_json_and_nan_again():
    def refuse(constant):
        raise AssertionError(constant)

    text = bench.to_json(made_up_race(diverged_run()))
    fields = json.loads(text, parse_constant=refuse)["runs"][0]
    assert fields["final_loss"] is None
    assert fields["grad_norm"] is None
    back = bench.from_json(text).runs[0]
    assert math.isnan(back.final_loss)
    assert math.isnan(back.grad_norm)
    assert back.status == "NONFINITE"


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": 0}', '{"schema": 2}', "no json"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"schema must be 1|Expecting value"):
        bench.from_json(text)


@pytest.mark.parametrize("field", ["final_loss", "grad_norm", "test_accuracy"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_run_is_not_finite_if_a_figure_is_not(field, value):
    assert made_up_run().finite
    assert not made_up_run(**{field: value}).finite


@pytest.mark.parametrize(("status", "finite"), [("NONFINITE", False), ("UNBOUNDED", False), ("STALLED", True)])
def test_run_is_not_finite_if_its_status_says_so(status, finite):
    assert made_up_run(status=status).finite is finite

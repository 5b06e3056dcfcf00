# SPDX-License-Identifier: Apache-2.0
"""How records print: numbers with errors, statuses by name, arrays and traced values as what they are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt import report
from jopt.curvature import Classification, Density, LowestCurvature, Spectrum
from jopt.linalg import Estimate, Extremes, Ritz, Tridiagonal
from jopt.linalg.cg import CGResult
from jopt.linalg.lsqr import LSQRResult
from jopt.linalg.steihaug import Path, SteihaugResult, Step
from jopt.status import KrylovStatus

RECORDS = [CGResult, LSQRResult, SteihaugResult, Tridiagonal, Ritz, Extremes, Estimate, LowestCurvature, Density]


class Record(NamedTuple):
    """A record with a field of each kind."""

    trace: Any
    trace_error: Any
    lone_error: Any
    x: Any
    nhev: Any
    observed: Any
    status: Any

    __repr__ = report.record


def made(**changes):
    x = {"a": jnp.array([1.0, 2.5]), "b": jnp.zeros((2, 3), "bfloat16")}
    fields = {
        "trace": jnp.float64(1.5),
        "trace_error": jnp.float32(0.25),
        "lone_error": jnp.bfloat16(0.5),
        "x": x,
        "nhev": jnp.int32(12345678),
        "observed": None,
        "status": jnp.int32(KrylovStatus.NOT_SYMMETRIC),
    }
    return Record(**(fields | changes))


def test_one_line_for_each_field():
    assert repr(made()).splitlines() == [
        "Record:",
        "       trace: 1.5 +- 0.2",
        "  lone_error: 0.5",
        "           x: {a: [1, 2.5], b: bfloat16[2, 3]}",
        "        nhev: 12345678",
        "      status: NOT_SYMMETRIC",
    ]
    assert "x: float64[9]" in repr(made(x=jnp.zeros(report.SHOWN + 1)))
    assert "observed: True" in repr(made(observed=jnp.bool_(True)))
    assert "status: 99" in repr(made(status=99))  # none of the statuses


def test_a_batch_has_its_statuses_by_name():
    text = repr(made(trace=jnp.ones(2), trace_error=jnp.zeros(2), status=jnp.array([1, 5], jnp.int32)))
    assert "status: [CONVERGED, NONFINITE]" in text
    assert "trace: [1, 1]\n" in text
    assert "trace_error: [0, 0]\n" in text


@pytest.mark.parametrize("kind", [*RECORDS, Classification, Spectrum], ids=lambda kind: kind.__name__)
def test_every_record_prints_at_any_time(kind):
    seen = []

    def look(values):
        seen.append(repr(kind(*values)))
        return values

    scalars = tuple(jnp.int32(1) if field in {"status", "kind"} else jnp.float64(0.5) for field in kind._fields)
    concrete = kind(*scalars)
    jax.make_jaxpr(look)(scalars)
    look(jax.eval_shape(lambda: scalars))
    look(tuple(np.zeros((), jax.dtypes.float0) for _ in scalars))  # the tangents of integers
    look(tuple(object() for _ in scalars))  # what JAX puts into a tree while it compares structures
    assert all(text.startswith(f"{kind.__name__}:\n") for text in [repr(concrete), *seen])
    assert "float64[]" in seen[0]
    if "status" in kind._fields:
        assert "status: CONVERGED" in repr(concrete)
    assert "Array(" not in repr(concrete)


def test_a_record_within_a_record_stands_on_its_line():
    half = jnp.float64(0.5)
    step = Step(step=jnp.ones(2), norm=half, slope=-half, decrease=half)
    path = Path(points=jnp.zeros((4, 2)), numbers=jnp.zeros((4, 3)))
    lines = repr(SteihaugResult(step, path, jnp.int32(KrylovStatus.BOUNDARY), jnp.int32(2))).splitlines()
    assert lines[1:] == [
        "    step: Step(step=[1, 1], norm=0.5, slope=-0.5, decrease=0.5)",
        "    path: Path(points=float64[4, 2], numbers=float64[4, 3])",
        "  status: BOUNDARY",
        "    nhev: 2",
    ]

# SPDX-License-Identifier: Apache-2.0
"""A benchmark without sif2jax: tiny problems, and solvers that do as they are told."""

import os
import time

import jax.numpy as jnp

from jopt.bench.rivals import Answer, Budget, Entrant


class Bowl:
    """scale |x - 1|^2 / 2 from zero, with a start that is a tree and data in args, as sif2jax's problems have."""

    def __init__(self, scale):
        self.y0 = {"a": jnp.zeros(2), "b": jnp.zeros(())}
        self.args = jnp.asarray(scale)

    def objective(self, y, args):
        return args * (jnp.sum((y["a"] - 1) ** 2) + (y["b"] - 1) ** 2) / 2


class Walled(Bowl):
    """The same within bounds, one of which is CUTEst's way to say that there is none; the start lies outside."""

    bounds = ({"a": jnp.array([0.25, -1e20]), "b": jnp.array(-1.0)}, {"a": jnp.array([1e20, 0.5]), "b": jnp.array(9.0)})


def problems():
    return {"EASY": Bowl(1.0), "STEEP": Bowl(100.0)}


def walled():
    return {"WALLED": Walled(1.0)}


def answering(x, *, claimed=True, code=7):
    """Return an entrant that answers with a multiple of ones."""

    def build(_fun, _x0, budget):
        assert isinstance(budget, Budget)
        return 0.5, lambda start: Answer(jnp.full_like(start, x), claimed, 3, 4, 5, code)

    return Entrant("jopt", build, lambda code: f"code {code}")


def misbehaving(act):
    """Return an entrant whose solve calls a function instead."""
    return Entrant("jopt", lambda *_: (0.0, lambda _: act()))


def fail():
    raise FloatingPointError("a\nlong   story " + "x" * 500)


def entrants():
    return {
        "right": answering(1.0),
        "wrong": answering(0.5),
        "modest": answering(1.0, claimed=False),
        "sleeper": misbehaving(lambda: time.sleep(60)),
        "crasher": misbehaving(lambda: os._exit(3)),
        "raiser": misbehaving(fail),
    }


def within_bounds():
    """Return solvers for the walled bowl, whose minimiser is (1, 0.5, 1)."""

    def build(x, budget):
        assert budget.bounds.upper.shape == (3,)
        return 0.5, lambda start: Answer(jnp.asarray(x, start.dtype), True, 1, 1)

    return {
        "right": Entrant("jopt", lambda _fun, _x0, budget: build([1.0, 0.5, 1.0], budget)),
        "outside": Entrant("jopt", lambda _fun, _x0, budget: build([1.0, 1.0, 1.0], budget)),
    }


def no_problems():
    raise ImportError("no such package")


def handler():
    """Return what answers requests in the tests of workers: calls the request."""
    return lambda request: request[0](*request[1:])


def thirds():
    return {"third": answering(1 / 3)}

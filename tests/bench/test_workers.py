# SPDX-License-Identifier: Apache-2.0
"""The process that may be killed: whatever happens in it is an answer, and the next request is answered."""

import functools
import os
import time

import casts
import pytest

from jopt.bench import cutest
from jopt.bench.workers import LONGEST_TEXT, Failure, Worker


@pytest.fixture(scope="module")
def worker():
    with Worker(casts.handler) as made:
        yield made


def test_worker_answers(worker):
    assert worker.ask((len, "abc"), limit=60.0) == 3


def test_worker_keeps_to_one_thread_and_the_environment_is_left_alone(worker):
    before = dict(os.environ)
    expected = os.environ.get("OMP_NUM_THREADS", "1")
    assert worker.ask((os.getenv, "OMP_NUM_THREADS"), limit=60.0) == expected
    assert dict(os.environ) == before


def test_an_exception_is_an_answer_of_one_line_and_the_process_lives(worker):
    pid = worker.ask((os.getpid,), limit=60.0)
    failure = worker.ask((casts.fail,), limit=60.0)
    assert failure.kind == "error"
    assert failure.text.startswith("FloatingPointError: a long story xxx")
    assert len(failure.text) == LONGEST_TEXT
    assert worker.ask((os.getpid,), limit=60.0) == pid


def test_a_hang_is_killed_and_the_next_request_gets_a_new_process(worker):
    pid = worker.ask((os.getpid,), limit=60.0)
    begin = time.monotonic()
    assert worker.ask((time.sleep, 600), limit=0.1) == Failure("timeout", "no answer within 0.1 s")
    assert time.monotonic() - begin < 60
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert worker.ask((os.getpid,), limit=60.0) != pid


def test_a_crash_is_an_answer_and_the_next_request_gets_a_new_process(worker):
    assert worker.ask((os._exit, 3), limit=60.0) == Failure("crash", "the process died, exit code 3")
    assert worker.ask((len, "ab"), limit=60.0) == 2


def test_a_process_that_cannot_start_is_an_error():
    cast = cutest.Cast(casts.no_problems, casts.entrants)
    with (
        Worker(functools.partial(cutest.Bench, "float64", cast)) as made,
        pytest.raises(RuntimeError, match="could not start: ImportError: no such package"),
    ):
        made.ask(("list",), limit=60.0)

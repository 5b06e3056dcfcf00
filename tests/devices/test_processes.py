# SPDX-License-Identifier: Apache-2.0
"""Solves over several processes on this machine give the answer of one, and the same one in each."""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from process_worker import CASES, solve

WORKER = Path(__file__).with_name("process_worker.py")
SECONDS = 240  # for all processes of one test to import, compile and solve on a busy machine


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process):
    """End a process with all that it started, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_together(processes, devices, cases, folder):
    """Return what each of some processes said; all are gone afterwards, and a failure shows what each wrote."""
    environment = {name: x for name, x in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    address = f"127.0.0.1:{free_port()}"
    started, files = [], []
    try:
        for index in range(processes):
            out, err = (folder / f"{index}.{name}" for name in ("out", "err"))
            files.append((out, err))
            command = [sys.executable, str(WORKER), address, str(processes), str(index), str(devices), *cases]
            with out.open("w") as o, err.open("w") as e:
                started.append(subprocess.Popen(command, stdout=o, stderr=e, env=environment, start_new_session=True))
        deadline = time.monotonic() + SECONDS
        # One that failed leaves the others waiting for it.
        while any(p.poll() is None for p in started) and not any(p.poll() for p in started):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    finally:
        codes = [process.poll() for process in started]
        for process in started:
            end(process)
    told = "\n".join(
        f"process {i} ended with {code}:\n{err.read_text()[-3000:]}"
        for i, (code, (_, err)) in enumerate(zip(codes, files, strict=True))
    )
    assert codes == [0] * processes, f"None is a process that was still at work after {SECONDS} s or a failure.\n{told}"
    return [json.loads(out.read_text().splitlines()[-1]) for out, _ in files]


@functools.cache
def alone(case):
    """Return the answer of this process on one device."""
    return solve(case, jax.devices()[:1])


def check(processes, devices, cases, folder):
    answers = run_together(processes, devices, cases, folder)
    assert [answer["processes"] for answer in answers] == [processes] * processes
    for case in cases:
        first, expected = answers[0]["cases"][case], alone(case)
        for answer in answers[1:]:
            assert answer["cases"][case] == first, case  # to the last bit
        assert first["devices"] == processes * devices
        if case != "data, least squares":  # the compiler lays out what comes of a matrix as it likes
            assert first["spread"] == case.startswith("parameters")
        assert first["counts"] == expected["counts"], case
        np.testing.assert_allclose(first["x"], expected["x"], rtol=1e-9, atol=1e-12, err_msg=case)
        np.testing.assert_allclose(first["fun"], expected["fun"], rtol=1e-12, err_msg=case)


@pytest.mark.slow
def test_two_processes_give_the_answer_of_one(tmp_path):
    check(2, 1, ["parameters, lbfgs"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "devices", "cases"),
    [(2, 2, list(CASES)), (4, 1, ["parameters, lbfgs", "parameters, trust-ncg", "data, lbfgs"])],
    ids=["2 with 2 devices", "4 with 1 device"],
)
def test_several_processes_give_the_answer_of_one_device(processes, devices, cases, tmp_path):
    check(processes, devices, cases, tmp_path)


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_and_is_shown(tmp_path):
    with pytest.raises(AssertionError, match="KeyError: 'no such case'"):
        run_together(1, 1, ["no such case"], tmp_path)

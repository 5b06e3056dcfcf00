# SPDX-License-Identifier: Apache-2.0
"""A process that is killed while it saves leaves its last complete save, and the next one goes on from there."""

import contextlib
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("orbax.checkpoint")

from interrupted_worker import EVERY, STEPS, digest, manager, newest, run

WORKER = Path(__file__).with_name("interrupted_worker.py")
SECONDS = 300  # for one process to say its next word on a busy machine
KILLS = 4
LONGEST = 0.2  # seconds that a kill waits after a save has begun: some kills fall into a save, some behind it


class Started:
    """A worker, with a queue of what it says."""

    def __init__(self, folder, errors):
        self.folder, self.said = folder, queue.Queue()
        with errors.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER), str(folder)], stdout=subprocess.PIPE, stderr=err, text=True,
                env={name: x for name, x in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"},
                start_new_session=True,
            )  # fmt: skip
        self.errors = errors
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said.put(line.split())
        self.said.put(None)

    def next_words(self):
        words = self.said.get(timeout=SECONDS)
        assert words is not None, self.errors.read_text()[-3000:]
        return words

    def is_saving(self):
        return any(self.folder.glob("*tmp*"))

    def kill(self):
        """Kill it as a machine that loses its power would, and return what it had still announced."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        last = []
        while not self.said.empty():
            last.append(self.said.get())
        return [words for words in last if words is not None]


@contextlib.contextmanager
def started(folder, errors):
    worker = Started(folder, errors)
    try:
        yield worker
    finally:
        worker.kill()


def kill_in_a_save(folder, errors, draw):
    """Start a worker, kill it about a save and return the last step that it announced, and whether a save was cut."""
    with started(folder, errors) as worker:
        word, number = worker.next_words()
        assert word == "saved"
        announced = int(number)
        deadline = time.monotonic() + SECONDS
        while not worker.is_saving() and worker.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(draw.choice([0.0, draw.uniform(0.0, LONGEST)]))
        later = [int(number) for word, number in worker.kill() if word == "saved"]
        return max([announced, *later]), worker.is_saving()


@pytest.mark.slow
def test_kills_in_the_middle_of_saves_lose_nothing_that_was_announced(tmp_path):
    folder, errors, draw = tmp_path / "saves", tmp_path / "errors", random.Random(0)
    expected = {}
    unbroken = run(callback=lambda it: expected.update({it.nit: digest(it.state)}), every=EVERY)
    cuts = []
    for _ in range(KILLS):
        announced, cut = kill_in_a_save(folder, errors, draw)
        cuts.append(cut)
        with manager(folder) as keeper:
            state = newest(keeper)
        assert announced <= int(state.nit) < STEPS
        assert digest(state) == expected[int(state.nit)]
    assert any(cuts), "no kill fell into a save; nothing was tested"
    with started(folder, errors) as worker:
        words = worker.next_words()
        while words[0] == "saved":
            words = worker.next_words()
        assert words == ["done", digest(unbroken.state)]

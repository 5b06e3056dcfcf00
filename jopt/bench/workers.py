# SPDX-License-Identifier: Apache-2.0
"""A process that answers requests and may be killed: a hang or a crash there is an answer here.

`Worker(make_handler)` starts a fresh Python process that calls `make_handler()` once and then its result on every
request. `ask` waits so many seconds; past them the process is killed and the answer is a `Failure`, as it is when the
process dies or the handler raises. The next `ask` starts a new process if the last one is gone.

The process runs one thread for each numerical library (`ENVIRONMENT`), so that solvers are compared on equal terms and
neighbours on the machine disturb least.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

ENVIRONMENT = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # two processes may share one GPU
}
"""Variables of the process, where the caller's environment does not set them."""

START_S = 300.0
"""Seconds a process may take until it is ready: imports and problems on a slow, busy machine."""

GRACE_S = 5.0
"""Seconds a process may take to leave when asked to; then it is killed."""

LONGEST_TEXT = 200
"""Characters kept of what an exception says: compilers write pages."""


class Failure(NamedTuple):
    """What came instead of an answer.

    Attributes:
      kind: "timeout", "crash" or "error".
      text: what happened, on one line.
    """

    kind: str
    text: str


class Worker:
    """A process that answers requests, restarted when it was lost.

    Args:
      make_handler: called in the process; it returns the function of a request that makes the answers. It, the requests
        and the answers must be picklable (a function at the top of a module, or a partial of one).

    Example:
      >>> import functools, operator
      >>> with Worker(functools.partial(operator.attrgetter, "real")) as worker:  # doctest: +SKIP
      ...     worker.ask(3, limit=10.0)
      3
    """

    def __init__(self, make_handler: Callable[[], Callable[[Any], Any]]) -> None:
        self._make_handler = make_handler
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Any = None

    def ask(self, request: Any, limit: float) -> Any:
        """Return the answer to a request, or a `Failure`.

        Args:
          request: anything picklable.
          limit: seconds to wait for the answer; the start of a process does not count.

        Raises:
          RuntimeError: if the process cannot start, which no further request would mend.
        """
        if self._process is None:
            self._start()
        try:
            self._pipe.send(request)
            if not self._pipe.poll(limit):
                self._kill()
                return Failure("timeout", f"no answer within {limit:g} s")
            return self._pipe.recv()
        except (EOFError, OSError):
            return Failure("crash", f"the process died, exit code {self._kill()}")

    def refresh(self) -> None:
        """Let the process go; the next `ask` starts a new one, with empty caches."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.join(GRACE_S)
        self._kill()

    def __enter__(self) -> Worker:
        """Return itself; the process starts at the first request."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the process go."""
        self.refresh()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs, self._make_handler), daemon=True)
        with _environment(ENVIRONMENT):
            self._process.start()
        theirs.close()
        try:
            answer = (
                self._pipe.recv() if self._pipe.poll(START_S) else Failure("timeout", f"not ready in {START_S:g} s")
            )
        except (EOFError, OSError):
            answer = Failure("crash", "the process died as it started")
        if answer is not None:
            self._kill()
            msg = f"Worker: the process could not start: {answer.text}"
            raise RuntimeError(msg)

    def _kill(self) -> int | None:
        """End the process, if it still runs, and return its exit code."""
        process, self._process = self._process, None
        process.join(0 if process.is_alive() else GRACE_S)
        process.kill()
        process.join()
        self._pipe.close()
        return process.exitcode


def one_line(error: BaseException) -> str:
    """Return what an exception says, on one line of bounded length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables that are not set, for the process that starts within."""
    added = {key: value for key, value in variables.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def _serve(pipe: Connection, make_handler: Callable[[], Callable[[Any], Any]]) -> None:
    """Answer requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        handler = make_handler()
    except Exception as error:
        pipe.send(Failure("error", one_line(error)))
        return
    pipe.send(None)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(_answer(handler, pipe.recv()))


def _answer(handler: Callable[[Any], Any], request: Any) -> Any:
    try:
        return handler(request)
    except Exception as error:  # whatever a solver raises is its failure on this problem
        return Failure("error", one_line(error))

# SPDX-License-Identifier: Apache-2.0
r"""What a check of a derivative says: a verdict for each comparison, the worst of them, and how they print.

A derivative d by automatic differentiation is held against the extrapolated difference D with its error e, and
against the complex step c where there is one. s is the scatter of d, what it varies by when x is moved by an ulp or two.

    d agrees with D    |d - D| <= e + s
    d agrees with c    |d - c| <= s + noise + 64 eps |c|
    c agrees with D    |c - D| <= e + s

Without c, d is wrong where it does not agree with D, neither for the noise that was measured nor for the least there
is. The complex step is far sharper than differences, but only as good as the assumption that f is holomorphic: with c,
d is wrong where it does not agree with c and, besides, c agrees with D or d does not. No bound is a fixed number:
errors and noise are measured.

At a kink any d between the one-sided derivatives is as good as another, and one outside is wrong.

Where e + s is as large as d and D, nothing can be said, unless it is negligible: next to the slope of f over the largest step,
or, where f does not change at all, next to the largest derivative of the check.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from jopt import report
from jopt.autodiff.differences import Samples
from jopt.autodiff.richardson import Estimates, Line, estimates

# Error of a complex step, beside that of the derivative, in eps: a product of a few rounded factors.
COMPLEX_ROUNDED = 64.0
# A tolerance below this power of eps, of the slope that is seen over the largest step, hides nothing that matters.
NEGLIGIBLE = 0.5
# How the name of a comparison along a random direction goes on.
DIRECTION = ", direction "
# Rows of a report that are printed.
SHOWN = 12


class Outcome(enum.IntEnum):
    """What a comparison says, from the best to the worst."""

    AGREES = 0
    UNRESOLVED = 1
    KINK = 2
    NONFINITE = 3
    WRONG = 4

    @property
    def advice(self) -> str:
        """What happened, and what to try."""
        return _ADVICE[self]


_ADVICE = {
    Outcome.AGREES: "agrees with differences",
    Outcome.UNRESOLVED: "zero, or lost in the round-off of f: use float64, or subtract what is constant from f",
    Outcome.KINK: "not differentiable here: the one-sided derivatives differ",
    Outcome.NONFINITE: "f or its derivative is not finite here or nearby: look at f(x), or take smaller steps, by scale",
    Outcome.WRONG: "wrong derivative: look for a custom rule, a stop_gradient, or a value made outside JAX",
}


class Comparison(NamedTuple):
    """One derivative by automatic differentiation, and what differences make of it.

    Attributes:
      path: the entry of x, such as x['w'][3], or a range of entries and the direction's number.
      outcome: what the comparison says.
      derivative: by automatic differentiation; with respect to the entry, or along a direction of signed units.
      difference: by extrapolated differences; NaN where there were not enough finite values.
      difference_error: its estimated error.
      tolerance: the error and the scatter of the derivative together.
      centred: the plain centred difference.
      centred_error: its estimated error.
      complex_step: the complex step; NaN where it does not apply.
      left: the one-sided difference from below, where it decided about a kink.
      right: the one from above.
      reach: how far from x these were taken: a kink nearer than that looks the same.
      step: the step of the plain centred difference, in the unit of the entry or in directions.
    """

    path: str
    outcome: Outcome
    derivative: float
    difference: float
    difference_error: float
    tolerance: float
    centred: float
    centred_error: float
    complex_step: float
    left: float
    right: float
    reach: float
    step: float

    @property
    def ratio(self) -> float:
        """How far derivative and difference are apart, in tolerances."""
        apart = abs(self.derivative - self.difference)
        return apart / self.tolerance if self.tolerance > 0 else float(np.where(apart > 0, np.inf, 0.0))

    def __str__(self) -> str:
        if self.outcome is Outcome.KINK:
            found = (
                f"slopes {report.number(self.left)} and {report.number(self.right)} at a distance of {self.reach:.1g}"
            )
        else:
            found = f"{report.number(self.difference, self.difference_error)} by differences"
        advice = self.outcome.advice
        if self.outcome is Outcome.AGREES:
            advice += f" to within {self.tolerance:.1g}"
        return f"{self.path}: {advice}; {report.number(self.derivative)} by automatic differentiation, {found}"


class DerivativeCheck(NamedTuple):
    """What a check of a derivative found; it prints as a table.

    Attributes:
      ok: whether no comparison is wrong or not finite. Kinks are named, and are no error.
      message: one sentence: the verdict, and the worst comparison.
      worst: the comparison of the worst outcome, the one with the largest ratio among those.
      smooth: whether no kink was found.
      compared: how many comparisons were made.
      entries: how many entries x has.
      complex_step: why there is no complex step, empty where there is one.
      comparisons: all of them, in the order of the leaves.
    """

    ok: bool
    message: str
    worst: Comparison
    smooth: bool
    compared: int
    entries: int
    complex_step: str
    comparisons: tuple[Comparison, ...]

    def __repr__(self) -> str:
        complex_step = f"none: {self.complex_step}" if self.complex_step else "yes"
        return _shown(self, {"complex step": complex_step})


class HvpCheck(NamedTuple):
    """What a check of Hessian-vector products found; it prints as a table.

    Attributes:
      ok: whether no comparison is wrong or not finite, and the products are symmetric.
      message: one sentence: the verdict, and the worst comparison.
      worst: the comparison of the worst outcome, the one with the largest ratio among those.
      smooth: whether no kink of the gradient was found.
      compared: how many comparisons were made: one for each entry and direction.
      entries: how many entries x has.
      asymmetry: |<u, H v> - <v, H u>| beyond its scatter near x, relative to |H v| + |H u|.
      asymmetry_bound: from where on they count as not symmetric.
      comparisons: all of them, direction after direction.
    """

    ok: bool
    message: str
    worst: Comparison
    smooth: bool
    compared: int
    entries: int
    asymmetry: float
    asymmetry_bound: float
    comparisons: tuple[Comparison, ...]

    def __repr__(self) -> str:
        return _shown(self, {"asymmetry": f"{self.asymmetry:.1g}, bound {self.asymmetry_bound:.1g}"})


def compared(samples: Samples, names: list[str], unit: np.ndarray, complex_step: np.ndarray) -> list[Comparison]:
    """Return the comparisons of d directions and m functions, d m of them.

    Args:
      samples: values and derivatives.
      names: of the d m comparisons.
      unit: what derivatives are divided by, shape (d, 1).
      complex_step: complex steps, NaN where there is none; shape (d, m).
    """
    d, m = samples.derivative.shape
    line = Line(*(field.reshape(d * m, *field.shape[2:]) for field in samples.line))
    noise = np.tile(samples.noise, d)
    derivative, scatter, imaginary = (a.ravel() for a in (samples.derivative, samples.scatter, complex_step))
    found = _best(line, noise, samples.eps, samples.pick, derivative, scatter)
    sharp = scatter + noise + COMPLEX_ROUNDED * samples.eps * np.abs(imaginary)
    seen = _visible_slopes(line, samples.steps[0], derivative)
    negligible = samples.eps**NEGLIGIBLE * seen
    outcomes = _outcomes(found, line.centre, derivative, found.error + scatter, imaginary, sharp, negligible)
    unit = np.broadcast_to(unit, (d, m)).ravel()
    columns = (
        derivative, found.derivative, found.error, found.error + scatter, found.centred, found.centred_error, imaginary,
        found.left, found.right,
    )  # fmt: skip
    reach, step = found.reach * unit, float(samples.steps[samples.pick]) * unit
    rows = zip(*(column / unit for column in columns), reach, step, strict=True)
    return [
        Comparison(name, Outcome(outcome), *map(float, row))
        for name, outcome, row in zip(names, outcomes.tolist(), rows, strict=True)
    ]


def concluded(comparisons: list[Comparison], entries: int, complex_step: str) -> DerivativeCheck:
    """Return the report on comparisons that were made."""
    worst = max(comparisons, key=badness)
    bad = sum(c.outcome >= Outcome.NONFINITE for c in comparisons)
    message = str(worst)
    if worst.outcome is Outcome.AGREES:
        message = f"all {len(comparisons)} comparisons agree; {message}"
    smooth = not any(c.outcome is Outcome.KINK for c in comparisons)
    return DerivativeCheck(
        bad == 0, message, worst, smooth, len(comparisons), entries, complex_step, tuple(comparisons)
    )


def _best(
    line: Line, noise: np.ndarray, eps: float, pick: int, derivative: np.ndarray, scatter: np.ndarray
) -> Estimates:
    """Return estimates with the noise that was measured or, where only these agree with the derivative, with the least there is.

    Where kinks are many, the noise is measured too large, and small steps, which alone are right, seem to say nothing.
    """
    measured, least = (estimates(line, bound, eps, pick) for bound in (noise, 0.0))
    with np.errstate(all="ignore"):
        agree, saved = (np.abs(derivative - e.derivative) <= e.error + scatter for e in (measured, least))
    return Estimates(*(np.where(saved & ~agree, b, a) for a, b in zip(measured, least, strict=True)))


def _visible_slopes(line: Line, step: float, derivative: np.ndarray) -> np.ndarray:
    """Return the size of derivatives along each line: what f shows over the largest step, the largest of all where it is flat."""
    known = np.abs(np.where(np.isfinite(derivative), derivative, 0.0))
    with np.errstate(all="ignore"):
        changes = np.abs(np.stack([line.plus, line.minus]) - line.centre[:, None])
    change = np.where(np.isfinite(changes), changes, 0.0).max(axis=(0, 2)) / step
    return np.where(change > 0, np.maximum(change, known), known.max(initial=0.0))


def _outcomes(
    found: Estimates,
    centre: np.ndarray,
    derivative: np.ndarray,
    tolerance: np.ndarray,
    imaginary: np.ndarray,
    sharp: np.ndarray,
    negligible: np.ndarray,
) -> np.ndarray:
    """Return the outcome of each comparison, as whole numbers; a comparison with NaN does not hold."""
    with np.errstate(all="ignore"):
        apart = ~(np.abs(derivative - found.derivative) <= tolerance)
        off = np.abs(derivative - imaginary) > sharp
        confirmed = np.abs(imaginary - found.derivative) <= tolerance
        wrong = np.where(np.isnan(imaginary), apart, off & (confirmed | apart))
        low, high = np.minimum(found.left, found.right), np.maximum(found.left, found.right)
        outside = (derivative < low - found.slack) | (derivative > high + found.slack)
        finite = np.isfinite(centre) & np.isfinite(derivative) & np.isfinite(found.derivative)
        # The scatter at a kink says nothing: d jumps from one side to the other.
        beyond = found.kink & outside & ~(np.abs(derivative - found.derivative) <= found.error)
        drowned = tolerance >= np.maximum(np.abs(derivative), np.abs(found.derivative))
    lost = drowned & (tolerance > negligible) & np.isnan(imaginary)
    cases = [~finite, found.kink & ~outside, beyond | wrong, lost]
    choices = [Outcome.NONFINITE, Outcome.KINK, Outcome.WRONG, Outcome.UNRESOLVED]
    return np.select(cases, [int(choice) for choice in choices], int(Outcome.AGREES))


def badness(one: Comparison) -> tuple[int, bool, bool, float]:
    """Order comparisons: by outcome; then entries before ranges, derivatives that are not finite before others."""
    return int(one.outcome), DIRECTION not in one.path, not np.isfinite(one.derivative), np.nan_to_num(one.ratio)


def _shown(check: DerivativeCheck | HvpCheck, further: dict[str, str]) -> str:
    rows = {"ok": str(check.ok), "verdict": check.message, "compared": f"{check.compared}, of {check.entries} entries"}
    return report.table(type(check).__name__, rows | further) + "\n" + _table(check.comparisons)


def _table(comparisons: tuple[Comparison, ...]) -> str:
    """Return the worst comparisons as aligned columns."""
    shown = sorted(comparisons, key=badness, reverse=True)[:SHOWN]
    head = ("", "outcome", "derivative", "extrapolated", "centred", "complex step")
    rows: list[tuple[str, ...]] = []
    for one in shown:
        numbers = (one.difference, one.difference_error), (one.centred, one.centred_error)
        imaginary = "-" if np.isnan(one.complex_step) else report.number(one.complex_step)
        pairs = (report.number(*pair) for pair in numbers)
        rows.append((one.path, one.outcome.name.lower(), report.number(one.derivative), *pairs, imaginary))
    lines = [f"  {line}" for line in report.columns(head, rows, left=())]
    if len(comparisons) > len(shown):
        lines.append(f"  ... and {len(comparisons) - len(shown)} more, none worse")
    return "\n".join(lines)

# SPDX-License-Identifier: Apache-2.0
"""The two themes of all pictures, and the look of their curves.

A curve differs from every other in colour, in line and in marker, so that none of the three is needed to read a picture.
The colours are the hues of Okabe and Ito, made darker on white and lighter on the dark ground until each has a contrast
of at least 3 with its ground and with the shade of contours; text has at least 4.5:

    contrast(a, b) = (L_a + 0.05) / (L_b + 0.05),    L_a >= L_b the relative luminances of the two colours

Reference: Okabe, Ito (2008), Color Universal Design, https://jfly.uni-koeln.de/color (the hues); W3C (2018), Web Content
Accessibility Guidelines 2.1, criteria 1.4.3 and 1.4.11 (the contrasts).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jopt import validate

# As many lines and markers as curve colours; the nine of each meet in 81 ways.
_LINES: tuple[Any, ...] = (
    "--", "-.", ":", "-", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2, 2, 2)), (0, (10, 3)),
)  # fmt: skip
_MARKERS = ("s", "^", "D", "o", "v", "P", "X", "<", "p")
_WIDTH, _SIZE = 1.6, 7  # of a line and of a marker, points


class Theme(NamedTuple):
    """Colours of a picture, each as #RRGGBB.

    Attributes:
      background: of the figure, of its axes, and of hollow markers.
      text: of titles, labels and ticks.
      grid: of the lines of the grid.
      shade: of the lowest ground among contours.
      contour: of the lines of contours.
      curves: of the curves, in the order in which they are drawn.
      above: of a cell of a heat map far above its middle.
      below: of a cell far below its middle.
    """

    background: str
    text: str
    grid: str
    shade: str
    contour: str
    curves: tuple[str, ...]
    above: str
    below: str


THEMES = {
    # Vermilion, blue, bluish green, black or white, reddish purple, dark or bright yellow, sky blue, plum, grey.
    "light": Theme(
        background="#FFFFFF",
        text="#1A1A1A",
        grid="#E0E0E0",
        shade="#E9EDF3",
        contour="#B4BCC8",
        curves=(
            "#D1500A", "#0060B0", "#008F68", "#000000", "#C4619A", "#5C4400", "#2F8FC4", "#5A1648", "#6E6E6E",
        ),
        above="#F0A860",
        below="#B3A6D6",
    ),
    "dark": Theme(
        background="#14181D",
        text="#E8EAED",
        grid="#2E353E",
        shade="#222932",
        contour="#4A5563",
        curves=(
            "#FF7A33", "#4A90E2", "#2CC295", "#FFFFFF", "#F08CC8", "#F5CB2E", "#9ADCFF", "#C9A6FF", "#8B929A",
        ),
        above="#8A4B0C",
        below="#54458A",
    ),
}  # fmt: skip
"""The themes by name."""


def named(function: str, theme: str) -> Theme:
    """Return a theme by name.

    Args:
      function: who asks, for the message.
      theme: "light" or "dark".

    Raises:
      ValueError: if there is no such theme.
    """
    return THEMES[validate.choice(function, "theme", theme, THEMES)]


def look(theme: Theme, index: int, *, filled: bool = True) -> dict[str, Any]:
    """Return colour, line and marker of a curve, as keywords of matplotlib's lines.

    Args:
      theme: whose colours.
      index: of the curve, >= 0.
      filled: whether its markers are filled.
    """
    colour, turns = theme.curves[index % len(theme.curves)], index // len(theme.curves)
    return {
        "color": colour,
        "linestyle": _LINES[(index + turns) % len(_LINES)],
        "linewidth": _WIDTH,
        "marker": _MARKERS[(index + turns) % len(_MARKERS)],
        "markersize": _SIZE,
        "markerfacecolor": colour if filled else theme.background,
        "markeredgecolor": colour,
        "markeredgewidth": _WIDTH,
    }

# SPDX-License-Identifier: Apache-2.0
"""Writing GIFs in the colours of a theme. This file imports matplotlib: it is itself imported only to write.

A GIF has 256 colours. Those that fit most pixels of a frame, as Pillow takes them, leave out thin curves, whose colours then
change. Here the palette is that of the theme: each of its colours and steps between it and the ground, which the edges of
lines need. It is the same for all frames, without dithering, so that what stands still costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from jopt.viz.themes import Theme

_STEPS = 19  # from the ground to each colour


class PaletteWriter(PillowWriter):
    """A writer of GIFs with one palette; frames that repeat are one that stays longer.

    Args:
      theme: whose colours.
      fps: frames a second.
    """

    def __init__(self, theme: Theme, fps: int):
        super().__init__(fps=fps)
        self.palette = Image.new("P", (1, 1))
        self.palette.putpalette(palette(theme).ravel().tolist())
        self.stills: list[Image.Image] = []

    def grab_frame(self, **savefig_kwargs: Any) -> None:
        """Take the figure as it is."""
        del savefig_kwargs
        canvas = FigureCanvasAgg(self.fig)
        canvas.draw()
        frame = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        self.stills.append(frame.quantize(palette=self.palette, dither=Image.Dither.NONE))

    def finish(self) -> None:
        """Write the file."""
        first, *rest = self.stills
        first.save(self.outfile, save_all=True, append_images=rest, duration=int(1000 / self.fps), loop=0)


def palette(theme: Theme) -> np.ndarray:
    """Return at most 256 colours, shape (k, 3), of whole numbers from 0 to 255: the theme's and steps to them.

    Args:
      theme: whose colours.
    """
    ground = np.asarray(to_rgb(theme.background))
    colours = np.asarray([to_rgb(colour) for colour in (theme.text, theme.contour, theme.shade, *theme.curves)])
    parts = np.linspace(0.0, 1.0, _STEPS)[:, None, None]
    mixed = np.rint(255 * (ground + parts * (colours - ground))).astype(np.uint8)
    return np.unique(mixed.reshape(-1, 3), axis=0)[:256]

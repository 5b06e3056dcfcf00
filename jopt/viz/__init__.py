# SPDX-License-Identifier: Apache-2.0
"""Pictures of jopt's records. The one room that imports matplotlib, and only when a picture is asked for.

Figures are plain `matplotlib.figure.Figure` objects: they belong to no window, and `figure.savefig(path)` writes them.
Every function takes `theme="light"` or `theme="dark"`. Colours, line styles and markers all differ from curve to curve, so
that none of the three is needed to read a picture.

- races.py:     `loss_curves`, loss against evaluations and time
- paths.py:     `trajectories`, the ways of optimizers over a plane
- animation.py: `animate_trajectories`, the same as GIF or MP4
- studies.py:   `loss_surface`, `stochastic_paths`, `newton_models`, `schedule`
- profiles.py:  `performance_profile`, `data_profile`
- speeds.py:    `time_against_size`, `roofline`
- costs.py:     `cost_bars`, `checkpoint_costs`, `hvp_costs`, of `jopt.autodiff`
- sweeps.py:    `step_sweep`, `size_sweep`, of `jopt.autodiff`
- themes.py:    the colours, lines and markers of all of them; canvas.py: how each begins and ends
"""

from jopt.viz.animation import animate_trajectories
from jopt.viz.costs import checkpoint_costs, cost_bars, hvp_costs
from jopt.viz.paths import trajectories
from jopt.viz.profiles import data_profile, performance_profile
from jopt.viz.races import loss_curves
from jopt.viz.speeds import roofline, time_against_size
from jopt.viz.studies import loss_surface, newton_models, schedule, stochastic_paths
from jopt.viz.sweeps import size_sweep, step_sweep

__all__ = [
    "animate_trajectories", "checkpoint_costs", "cost_bars", "data_profile", "hvp_costs", "loss_curves", "loss_surface",
    "newton_models", "performance_profile", "roofline", "schedule", "size_sweep", "step_sweep", "stochastic_paths",
    "time_against_size", "trajectories",
]  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""Draw what optimizers do: a race on Beale's function, still and moving, and six small studies.

    python examples/13_pictures.py           # into a folder that is removed at the end
    python examples/13_pictures.py FOLDER    # into FOLDER

Every picture comes of a record, which can be looked at without drawing it: the checks below do so.
"""

import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import viz
from jopt.bench import hulls, studies, trajectories

THEME = "light"


def main(folder):
    """Draw everything into a folder."""
    race = trajectories.race_planar("beale", steps=300)
    for run in race.runs:
        print(f"from {run.start}: {run.method:17} {len(run.points) - 1:4} steps, {run.status}, at {run.distance:.3g}")
    from_below = {run.method: run for run in race.runs if run.start == (2.0, -2.0)}
    for method in ("newton-cg", "lbfgs"):  # what knows the curvature arrives, and soon
        assert from_below[method].success
        assert len(from_below[method].points) < 30
        assert from_below[method].distance < 1e-3
    assert not from_below["gd"].success

    zig_zag = studies.zig_zag()
    steps = np.diff(zig_zag.runs[0].points[:10], axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    turns = np.abs(np.sum(steps[1:] * steps[:-1], axis=1))
    print("zig-zag: cosines of the turns at most", turns.max())
    assert turns.max() < 1e-3

    wandering = hulls.stochastic_paths()
    print(f"{(~wandering.inside).sum()} stochastic steps outside the hull, all towards it: {wandering.heads.all()}")
    assert wandering.heads.all()

    def cubic(t):
        return (t - 3.0) ** 2 * (t + 3.0)

    cosine = jopt.schedules.warmup_cosine_decay_schedule(0.0, 0.1, 100, 1000)
    figures = {
        "beale": viz.trajectories(race, theme=THEME),
        "learning-rates": viz.trajectories(studies.learning_rates(), theme=THEME),
        "momentum": viz.trajectories(studies.momentum_weights(), theme=THEME),
        "zig-zag": viz.trajectories(zig_zag, equal=True, theme=THEME),
        "hull": viz.stochastic_paths(wandering, theme=THEME),
        "losses": viz.loss_surface([studies.loss_surface(loss) for loss in studies.LOSSES], theme=THEME),
        "newton": viz.newton_models(studies.newton_models(cubic, 1.5), theme=THEME),
        "schedules": viz.schedule({"warm-up, then cosine": cosine, "fixed": 0.05}, 1000, theme=THEME),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
    moving = viz.animate_trajectories(race, folder / "beale.gif", frames=40, theme=THEME)
    print("drawn:", ", ".join(f"{name}.png" for name in figures), moving.name)
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in figures)

    again = trajectories.from_json(trajectories.to_json(race))
    assert bool(jnp.all(again.runs[0].points == race.runs[0].points))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))

"""Draws the pictures of objectives and environments: python docs/pictures.py [objectives|environments]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parent / "images"
KNOBS = {
    "gipo": (0.2, 0.5, 1.0),
    "gipo_decoupled": (0.05, 0.15, 0.5),
    "icepop": (2.0, 5.0, 8.0),
    "ppo_clip": (0.1, 0.2, 0.4),
    "ppo_dual_clip": (0.1, 0.2, 0.4),
    "sapo": (0.5, 1.0, 4.0),
    "spo": (0.1, 0.2, 0.4),
    "tis": (0.5, 1.0, 2.0),
    "cispo": (0.1, 0.2, 1.0),
}
"""Smaller, usual and larger values of each knob that shapes g of a single sample."""
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "fetch_reach": {},
    "fetch_push": {},
    "fetch_slide": {},
    "fetch_pick_and_place": {},
    "hand_reach": {},
    "hand_manipulate_block": {"task": "rotate_z"},
    "hand_manipulate_egg": {"task": "rotate"},
    "hand_manipulate_pen": {"task": "rotate"},
    "adroit_door": {},
    "adroit_hammer": {},
    "adroit_pen": {},
    "adroit_relocate": {},
    "franka_kitchen": {},
    "metaworld": {"task": "button-press-v3"},
}


def objectives() -> None:
    """One picture per objective: g(r) for both signs of the advantage, from the function that trains."""
    import matplotlib.pyplot as plt
    import numpy as np
    import torch

    from gipo_cli.core.objectives import OBJECTIVES, evaluate

    ratio = torch.linspace(0.02, 4.0, 600, dtype=torch.float64)
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gipo", "font.size": 11})
    for name, kind in OBJECTIVES.items():
        params = kind()  # type: ignore[call-arg]
        knobs = KNOBS.get(name, (None,))
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
        for axis, sign, title in zip(axes, (1.0, -1.0), ("A > 0", "A < 0"), strict=True):
            axis.plot(ratio, ratio, color="0.75", linewidth=1, label="r (unbiased)")
            for shade, value in zip((0.4, 0.7, 1.0), knobs, strict=False):
                terms = evaluate(
                    params if value is None else params.with_knob(value),
                    ratio.log(),
                    torch.zeros_like(ratio),
                    torch.full_like(ratio, sign),
                    torch.zeros_like(ratio),
                )
                g = np.where(terms.coefficient.abs() > 6, np.nan, terms.coefficient)
                label = (
                    kind.label if value is None else f"{kind.symbols.get(kind.knob, kind.knob)} = {value:g}"
                )
                colour = kind.look[0] if kind.look else "black"
                axis.plot(
                    ratio, g, color=colour, alpha=shade if len(knobs) > 1 else 1, linewidth=2, label=label
                )
            axis.set(title=title, xlabel="importance ratio r", xlim=(0, 4), ylim=(-1, 4))
            axis.axhline(0, color="0.6", linewidth=0.8)
            axis.axvline(1, color="0.6", linewidth=0.8, linestyle=":")
        axes[0].set_ylabel("gradient coefficient g")
        axes[1].legend(frameon=False, fontsize=10)
        figure.savefig(IMAGES / "objectives" / f"{name}.png", dpi=110)
        plt.close(figure)


def environments() -> None:
    """One frame of every environment, some random actions after its start."""
    from PIL import Image

    from gipo_cli.envs.make import make_env
    from gipo_cli.settings.schema import EnvConfig

    for name, settings in ENVIRONMENTS.items():
        env = make_env(EnvConfig(name=name, **settings), seed=1, render_mode="rgb_array")
        env.reset()
        env.action_space.seed(1)
        for _ in range(10):
            env.step(env.action_space.sample())
        picture = Image.fromarray(env.render()).convert("RGB")  # type: ignore[arg-type]
        picture.thumbnail((320, 320))
        picture.save(IMAGES / "environments" / f"{name}.jpg", quality=80, optimize=True)
        env.close()


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ("objectives", "environments"):
        {"objectives": objectives, "environments": environments}[wanted]()

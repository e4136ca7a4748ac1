"""``gipo video``: record a run's policy as a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, echo

from gipo_cli.commands.options import Checkpoint, Deterministic, Device, Run, RunsRoot, Seed, Trust, open_run
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.commands.film import Film, Style

Height = Annotated[
    int | None, Option(min=16, metavar="PIXELS", help="height of an episode's picture (as it is drawn)")
]
Numbers = Annotated[
    bool, Option("--numbers/--no-numbers", help="write step, return and success on the pictures")
]
Together = Annotated[bool, Option("--side-by-side", help="show all episodes at once")]


def video(
    run: Run,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="an .mp4 or .gif file (RUN/videos/step_STEP.mp4)")
    ] = None,
    episodes: Annotated[int, Option(min=1, help="number of episodes")] = 1,
    deterministic: Deterministic = True,
    seed: Seed = None,
    checkpoint: Checkpoint = "last",
    fps: Annotated[float | None, Option(min=0.1, help="frames per second (the robot's own speed)")] = None,
    every: Annotated[
        int | None, Option(min=1, help="draw every N-th step (up to 30 pictures a second)")
    ] = None,
    height: Height = None,
    numbers: Numbers = True,
    together: Together = False,
    device: Device = "cpu",
    runs: RunsRoot = None,
    trust: Trust = False,
) -> None:
    """Record the policy, or demonstrations (DEMOS in place of RUN), as MP4 or GIF (works headless)."""
    from gipo_cli.commands.film import Style
    from gipo_cli.data.demo_files import found
    from gipo_cli.runs.layout import runs_root

    style = Style(fps=fps, every=every, height=height, numbers=numbers, together=together)
    if (demos := found(runs_root(runs), run)) is not None:
        if together:
            raise UserError("--side-by-side shows episodes of a run, not demonstrations; leave it out")
        _say(record_demos(demos, out=out, episodes=episodes, style=style, trust=trust))
        return
    made = record(
        open_run(run, runs).path,
        out,
        episodes=episodes,
        deterministic=deterministic,
        seed=seed,
        checkpoint=checkpoint,
        style=style,
        device=device,
        trust=trust,
    )
    _say(made)


def _say(made: Film) -> None:
    count = f"{len(made.returns)} episode{'s' if len(made.returns) != 1 else ''}"
    wins = f", {sum(made.successes)} successful" if made.successes else ""
    echo(f"{made.path}: {made.frames} frames, {count}{wins}")


def record(
    run: Path,
    out: Path | None = None,
    *,
    episodes: int = 1,
    deterministic: bool = True,
    seed: int | None = None,
    checkpoint: str = "last",
    style: Style | None = None,
    device: str = "cpu",
    trust: bool = False,
) -> Film:
    """Film the first episodes of a run's evaluation; see the options of ``gipo video``.

    Raises:
        UserError: Nothing can be rendered here, or the request does not fit.
        RunFailed: The environment failed.
    """
    from gipo_cli.commands import film, renderer
    from gipo_cli.runs.durable import refuse_links

    if out is not None:
        film.check_destination(out)
    else:
        refuse_links(run)
    chosen = renderer.choose_renderer()
    import torch

    from gipo_cli.training.loading import load_agent

    agent, config, saved = load_agent(run, checkpoint, device, trust=trust)
    renderer.need(chosen, config.env)
    seed = config.eval.seed if seed is None else seed
    # As an evaluation does.
    torch.set_num_threads(config.runtime.torch_threads)
    torch.manual_seed(seed)
    return film.film(
        agent.acting(deterministic),
        config.env,
        out or film.new_file(run / "videos", saved.step),
        episodes=range(episodes),
        seed=seed,
        task_seed=config.seed,
        style=style or film.Style(),
    )


def record_demos(
    path: Path,
    *,
    out: Path | None = None,
    episodes: int = 1,
    style: Style | None = None,
    trust: bool = False,
) -> Film:
    """Play the first recorded episodes again, which are the same to the bit, and film them.

    Raises:
        UserError: `gipo demos` did not record them, or nothing can be rendered here.
        RunFailed: The environment failed.
    """
    import numpy as np

    from gipo_cli.commands import film, renderer
    from gipo_cli.data.formats import read
    from gipo_cli.settings.imports import modules_of
    from gipo_cli.settings.schema import EnvConfig
    from gipo_cli.training.evaluate import LANES

    found = read(path)
    env, seed = found.about.get("env"), found.about.get("seed")
    if not env or seed is None or (found.number < 0).any():
        raise UserError(
            f"{path} does not say how its episodes began; only what `gipo demos` recorded can be filmed"
        )
    if (modules := modules_of({"env": env})) and not trust:
        raise UserError(f"{path} needs the code of {', '.join(modules)}: if you trust it, add --trust")
    out = path.with_suffix(".mp4") if out is None else out
    film.check_destination(out)
    chosen = renderer.choose_renderer()
    cfg = EnvConfig.model_validate(env)
    renderer.need(chosen, cfg)
    actions = iter(found.action)
    return film.film(
        lambda _: np.tile(next(actions), (LANES, 1)),
        cfg,
        out,
        episodes=found.number[:episodes].tolist(),
        seed=seed,
        task_seed=seed,
        style=style or film.Style(),
        demonstrated=True,
    )

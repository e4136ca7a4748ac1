"""``gipo video``: record a run's policy as a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, echo

from gipo_cli.commands.options import Deterministic, Device, Run, RunsRoot, Seed, Trust, open_run
from gipo_cli.errors import UserError

if TYPE_CHECKING:
    from gipo_cli.commands.film import Film

BEST_OR_LAST = "best-or-last"


def video(
    run: Run,
    out: Annotated[Path | None, Option(help="an .mp4 or .gif file (RUN/videos/...)")] = None,
    episodes: Annotated[int, Option(help="number of episodes")] = 1,
    deterministic: Deterministic = True,
    seed: Seed = None,
    checkpoint: Annotated[
        str, Option(help="last, best, a step, or best-or-last: the best, if any was evaluated")
    ] = BEST_OR_LAST,
    fps: Annotated[float | None, Option(help="frames per second (the simulated speed)")] = None,
    every: Annotated[int | None, Option(help="record every N-th step", metavar="N")] = None,
    device: Device = "cpu",
    runs: RunsRoot = None,
    trust: Trust = False,
) -> None:
    """Record the policy, or demonstrations (DEMOS in place of RUN), as MP4 or GIF (works headless)."""
    from gipo_cli.data.demo_files import found
    from gipo_cli.runs.layout import runs_root

    if (demos := found(runs_root(runs), run)) is not None:
        _say(record_demos(demos, out=out, episodes=episodes, fps=fps, every=every))
        return
    film = record(
        open_run(run, runs).path,
        out=out,
        episodes=episodes,
        deterministic=deterministic,
        seed=seed,
        checkpoint=checkpoint,
        fps=fps,
        every=every,
        device=device,
        trust=trust,
    )
    _say(film)


def _say(film: Film) -> None:
    count = f"{len(film.returns)} episode{'s' if len(film.returns) != 1 else ''}"
    wins = f", {sum(film.successes)} successful" if film.successes else ""
    echo(f"{film.path}: {film.frames} frames, {count}{wins}")


def record(
    run: Path,
    *,
    out: Path | None = None,
    episodes: int = 1,
    deterministic: bool = True,
    seed: int | None = None,
    checkpoint: str = BEST_OR_LAST,
    fps: float | None = None,
    every: int | None = None,
    device: str = "cpu",
    trust: bool = False,
) -> Film:
    """Film the first episodes of a run's evaluation; see the options of ``gipo video``.

    Raises:
        UserError: Nothing can be rendered here, or the request does not fit.
        RunFailed: The environment failed.
    """
    from gipo_cli.commands import film
    from gipo_cli.runs.checkpoint import CheckpointStore
    from gipo_cli.runs.durable import refuse_links
    from gipo_cli.runs.layout import RunDir

    for name, value in (("episodes", episodes), ("fps", fps), ("every", every)):
        if value is not None and value <= 0:
            raise UserError(f"--{name} {value} is too small; give a number above 0")
    if checkpoint == BEST_OR_LAST:
        best = CheckpointStore(RunDir(run).checkpoints).best_step()
        checkpoint = "last" if best is None else str(best)
    if out is not None:
        film.check_destination(out)
    else:
        refuse_links(run)
    renderer, reason = film.choose_renderer()
    import torch

    from gipo_cli.training.loading import load_agent

    agent, config, saved = load_agent(run, checkpoint, device, trust=trust)
    # Other environments of Gymnasium may draw by other means.
    if renderer is None and config.env.name != "gymnasium":
        raise UserError(f"no renderer works here ({reason}); {film.REMEDY}")
    seed = config.eval.seed if seed is None else seed
    # As an evaluation does.
    torch.set_num_threads(config.runtime.torch_threads)
    torch.manual_seed(seed)
    return film.film(
        lambda observations: agent.act(observations, deterministic),
        config.env,
        out or film.new_file(run / "videos", saved.step),
        episodes=episodes,
        seed=seed,
        task_seed=config.seed,
        fps=fps,
        every=every,
    )


def record_demos(
    path: Path,
    *,
    out: Path | None = None,
    episodes: int = 1,
    fps: float | None = None,
    every: int | None = None,
) -> Film:
    """Play the first recorded episodes again, which are the same to the bit, and film them.

    Raises:
        UserError: `gipo demos` did not record them, or nothing can be rendered here.
        RunFailed: The environment failed.
    """
    import numpy as np

    from gipo_cli.commands import film
    from gipo_cli.data.formats import read
    from gipo_cli.settings.schema import EnvConfig
    from gipo_cli.training.evaluate import LANES

    found = read(path)
    if not found.about.get("env") or (found.number < 0).any():
        raise UserError(
            f"{path} does not say how its episodes began; only what `gipo demos` recorded can be filmed"
        )
    out = path.with_suffix(".mp4") if out is None else out
    film.check_destination(out)
    renderer, reason = film.choose_renderer()
    cfg = EnvConfig.model_validate(found.about["env"])
    if renderer is None and cfg.name != "gymnasium":
        raise UserError(f"no renderer works here ({reason}); {film.REMEDY}")
    actions = iter(found.action)
    seed = int(found.about["seed"])
    return film.film(
        lambda _: np.tile(next(actions), (LANES, 1)),
        cfg,
        out,
        episodes=episodes,
        seed=seed,
        task_seed=seed,
        fps=fps,
        every=every,
        demonstrated=found.number[:episodes].tolist(),
    )

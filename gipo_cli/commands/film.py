"""``gipo video``: film a trained policy, on a machine without a display too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gipo_cli.children import command, environment
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.checkpoint import CheckpointStore
from gipo_cli.runs.durable import TEMPORARY
from gipo_cli.runs.layout import RunDir
from gipo_cli.training.evaluate import EVALUATION_INDEX, LANES, check_length

if TYPE_CHECKING:
    import gymnasium as gym
    import numpy as np

    from gipo_cli.settings.schema import EnvConfig
    from gipo_cli.training.evaluate import Act

_REMEDY = (
    "MuJoCo without a display needs EGL (apt-get install libegl1 libgl1 libgl1-mesa-dri) and MUJOCO_GL=egl "
    "or unset"
)
METAWORLD_CAMERA = "corner2"
FORMATS = (".mp4", ".gif")
_REAL_TIME_FPS = 30.0
_PROBE_SECONDS = 60


@dataclass(frozen=True)
class Video:
    """A film that was made.

    Attributes:
        path: The file.
        step: Of the checkpoint whose policy it shows.
        frames: Pictures in it.
        fps: Pictures per second.
        returns: Of its episodes.
        successes: Of its episodes; empty where the task reports none.
    """

    path: Path
    step: int
    frames: int
    fps: float
    returns: list[float]
    successes: list[bool]


def record(
    run: Path,
    *,
    out: Path | None = None,
    episodes: int = 1,
    checkpoint: str = "best-or-last",
    deterministic: bool = True,
    seed: int | None = None,
    fps: float | None = None,
    every: int | None = None,
    device: str = "cpu",
    trust: bool = False,
) -> Video:
    """Film the first episodes of a run's evaluation.

    Args:
        run: The run folder.
        out: Where to, ``.mp4`` or ``.gif``; None: a new file below ``videos/`` in the run folder.
        episodes: How many, one after the other.
        checkpoint: ``last``, ``best``, a step, or ``best-or-last``: the best if any was evaluated.
        deterministic: Take the mode of the policy rather than a sample.
        seed: Seed of the episodes' starts; None: ``eval.seed``.
        fps: Pictures per second of film; None: the simulated speed.
        every: Film every so many steps; None: as many as the simulated speed needs, at most 30 a second.
        device: Where the policy runs.
        trust: Import the modules that the run's configuration names.

    Returns:
        What was filmed.

    Raises:
        UserError: Nothing can be rendered here, or the request does not fit.
        RunFailed: The environment failed.
    """
    for name, value in (("episodes", episodes), ("fps", fps), ("every", every)):
        if value is not None and value <= 0:
            raise UserError(f"{name}={value} cannot be filmed; give a number above 0")
    if checkpoint == "best-or-last":
        best = CheckpointStore(RunDir(run).checkpoints).best_step()
        checkpoint = "last" if best is None else str(best)
    if out is not None:
        _check_destination(out)
    renderer = choose_renderer()
    import torch

    from gipo_cli.training.loading import load_agent

    agent, config, saved = load_agent(run, checkpoint, device, trust=trust)
    path = _destination(run, out, saved.step)
    # Other environments of Gymnasium may draw by other means.
    if renderer is None and config.env.name != "gymnasium":
        raise UserError(f"no renderer works here; {_REMEDY}")
    seed = config.eval.seed if seed is None else seed
    # As an evaluation does.
    torch.set_num_threads(config.runtime.torch_threads)
    torch.manual_seed(seed)
    returns, successes, frames, used_fps = film(
        lambda observations: agent.act(observations, deterministic),
        config.env,
        path,
        episodes=episodes,
        seed=seed,
        task_seed=config.seed,
        fps=fps,
        every=every,
    )
    return Video(path, saved.step, frames, used_fps, returns, successes)


def film(
    act: Act,
    cfg: EnvConfig,
    path: Path,
    *,
    episodes: int,
    seed: int,
    task_seed: int,
    fps: float | None = None,
    every: int | None = None,
) -> tuple[list[float], list[bool], int, float]:
    """Play episodes and write their pictures to a file, which appears only when it is complete.

    Args:
        act: Actions ``[LANES, ...]`` for float32 observations ``[LANES, d]``, as in ``Evaluator``.
        cfg: The environment.
        path: ``.mp4`` or ``.gif``.
        episodes: How many.
        seed: Seed of the episodes' starts.
        task_seed: Seed of the task.
        fps: Pictures per second of film; None: the simulated speed.
        every: Film every so many steps; None: see ``record``.

    Returns:
        Returns, successes, number of pictures, pictures per second.

    Raises:
        UserError: Nothing can be rendered here, or the file cannot be written.
        RunFailed: The environment failed.
    """
    from gipo_cli.envs.make import make_env

    _check_pictures(cfg, seed)
    returns: list[float] = []
    successes: list[bool] = []
    frames = 0
    upside_down = cfg.name == "metaworld" and "camera_name" not in cfg.kwargs
    if upside_down:
        # From behind the robot, upstream's default view, the gripper is hidden; its other cameras hang
        # upside down.
        cfg = cfg.model_copy(update={"kwargs": {**cfg.kwargs, "camera_name": METAWORLD_CAMERA}})
    with closing(
        make_env(cfg, seed, EVALUATION_INDEX, task_seed=task_seed, goals="cycle", render_mode="rgb_array")
    ) as env:
        native = float(env.metadata.get("render_fps") or _REAL_TIME_FPS)
        every = every or max(1, round(native / _REAL_TIME_FPS))
        fps = fps or native / every
        with _Writer(path, fps) as append:
            for number in range(episodes):
                env.set_episode_index(number)
                for picture, outcome in _play(env, act, number % LANES, every):
                    if picture is not None:
                        append(picture[::-1, ::-1] if upside_down else picture)
                        frames += 1
                    if outcome is not None:
                        returns.append(outcome["episode"]["r"])
                        if "is_success" in outcome:
                            successes.append(outcome["is_success"])
    return returns, successes, frames, fps


def _check_pictures(cfg: EnvConfig, seed: int) -> None:
    """A Gymnasium environment says which pictures it makes, but warns only once it is asked for others."""
    from gipo_cli.envs.make import make_env

    if cfg.name == "gymnasium":
        with closing(make_env(cfg, seed)) as env:
            modes = env.metadata.get("render_modes") or []
        if "rgb_array" not in modes:
            offered = f"only {', '.join(modes)}" if modes else "none"
            raise UserError(
                f"{cfg.id} makes no pictures that can be filmed: its metadata must name the render mode "
                f"rgb_array, and it names {offered}"
            )


def choose_renderer() -> str | None:
    """Set ``MUJOCO_GL`` to a way of rendering that works here, if the user has not chosen one.

    Each is tried in a process of its own, since a broken graphics driver may end the process. Call it before
    anything imports OpenGL, which cannot change its mind later.

    Returns:
        The user's choice if it works; else the first that works of ``egl``, ``osmesa`` and, with a display,
        ``glfw``; None if nothing does.
    """
    chosen = os.environ.get("MUJOCO_GL")
    screens = ("glfw",) if os.environ.get("DISPLAY") else ()
    candidates: tuple[str, ...] = (chosen,) if chosen else ("egl", "osmesa", *screens)
    for backend in candidates:
        with suppress(subprocess.TimeoutExpired):
            probe = subprocess.run(
                command("render-probe"),
                env=environment(MUJOCO_GL=backend),
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
            )
            if probe.returncode == 0:
                os.environ["MUJOCO_GL"] = backend
                return backend
    return None


def probe() -> None:
    """Draw nothing with the renderer that ``MUJOCO_GL`` names, to learn whether it works."""
    import mujoco

    context = mujoco.GLContext(64, 64)
    context.make_current()
    context.free()


def _destination(run: Path, out: Path | None, step: int) -> Path:
    if out is not None:
        return out
    names = (f"step_{step:012d}{suffix}.mp4" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for name in names if not (path := run / "videos" / name).exists())


def _check_destination(out: Path) -> None:
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"{out} is neither {' nor '.join(FORMATS)}; end the name with one of them")
    if out.exists():
        raise UserError(f"{out} already exists and is not overwritten; give another name")


def _play(
    env: gym.Env[Any, Any], act: Act, lane: int, every: int
) -> Iterator[tuple[np.ndarray | None, dict[str, Any] | None]]:
    import numpy as np

    from gipo_cli.envs.spaces import clipped

    observation, _ = env.reset()
    # The batch of an evaluation: in one of another size the same actions are rounded differently.
    observations = np.zeros((LANES, *observation.shape), np.float32)
    yield _picture(env), None
    done, step = False, 0
    while not done:
        observations[lane] = observation
        action = clipped(act(observations)[lane], env.action_space)
        observation, _, terminated, truncated, info = env.step(action)
        step += 1
        check_length(env, step)
        done = terminated or truncated
        yield (_picture(env) if done or step % every == 0 else None), (info if done else None)


def _picture(env: gym.Env[Any, Any]) -> np.ndarray:
    import numpy as np

    try:
        picture = env.render()
    # A graphics driver may raise anything.
    except Exception as error:
        mujoco = any("mujoco" in kind.__module__ for kind in type(env.unwrapped).__mro__)
        raise UserError(
            f"the environment cannot be rendered here ({type(error).__name__}: {error})"
            + (f"; {_REMEDY}" if mujoco else "")
        ) from error
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise RunFailed(f"the environment renders {type(picture).__name__} instead of pictures")
    return picture


class _Writer:
    """Writes aside and renames, so that no half film is left under the final name."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
        self._gif: list[np.ndarray] | None = [] if path.suffix.lower() == ".gif" else None
        self._writer: Any = None
        self._pictures = 0

    def __enter__(self) -> Callable[[np.ndarray], None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failure(error) from error
        return self._append

    def _append(self, picture: np.ndarray) -> None:
        import imageio.v2 as imageio

        self._pictures += 1
        if self._gif is not None:
            self._gif.append(picture)
            return
        try:
            if self._writer is None:
                self._writer = imageio.get_writer(
                    self._aside, fps=self._fps, macro_block_size=2, ffmpeg_log_level="error"
                )
            self._writer.append_data(picture)
        except OSError as error:
            raise self._failure(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
            if kind is None:
                self._finish()
                self._aside.replace(self._path)
        except OSError as failure:
            if kind is None:
                raise self._failure(failure) from failure
        finally:
            with suppress(OSError):
                self._aside.unlink(missing_ok=True)

    def _finish(self) -> None:
        import imageio.v3 as imageio

        if self._gif is not None:
            data = imageio.imwrite("<bytes>", self._gif, extension=".gif", duration=1000 / self._fps, loop=0)
            self._aside.write_bytes(data)
            return
        import imageio_ffmpeg

        # ffmpeg writes in a process of its own, whose errors nobody hears of.
        try:
            stored, _ = imageio_ffmpeg.count_frames_and_secs(str(self._aside))
        except RuntimeError:
            stored = 0
        if stored != self._pictures:
            raise OSError(f"only {stored} of {self._pictures} pictures could be stored; is the disk full?")

    def _failure(self, error: OSError) -> UserError:
        return UserError(f"cannot write {self._path}: {error.strerror or error}")

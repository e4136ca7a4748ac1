"""Films of a policy: pictures of evaluation episodes, on a machine without a display too."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gipo_cli.children import command, environment
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.runs.durable import TEMPORARY

if TYPE_CHECKING:
    import gymnasium as gym

    from gipo_cli.settings.schema import EnvConfig
    from gipo_cli.training.evaluate import Act

Append = Callable[[np.ndarray], None]
_CHANNELS = (1, 3, 4)
FORMATS = (".mp4", ".gif")
METAWORLD_CAMERA = "corner2"
REMEDY = (
    "MuJoCo without a display needs EGL (apt-get install libegl1 libgl1 libgl1-mesa-dri) and MUJOCO_GL=egl "
    "or unset"
)
_REAL_TIME_FPS = 30.0
_PROBE_SECONDS = 60


@dataclass(frozen=True)
class Film:
    """A film that was made: its file, its frames and their rate, and the outcomes of its episodes.

    ``successes`` is empty where the task reports none.
    """

    path: Path
    frames: int
    fps: float
    returns: list[float]
    successes: list[bool]


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
    demonstrated: Sequence[int] | None = None,
) -> Film:
    """Play episodes as an evaluation does and write their pictures to a file.

    Args:
        act: Actions ``[LANES, ...]`` for float32 observations ``[LANES, d]``, as in ``Evaluator``.
        cfg: The environment.
        path: ``.mp4`` or ``.gif``; it appears only when it is complete.
        episodes: Number of episodes, from the first on.
        seed: Seed of the episodes' starts.
        task_seed: Seed of the task.
        fps: Frames per second; None: the simulated speed.
        every: Steps per picture; None: as few as keep the simulated speed at 30 frames per second at most.
        demonstrated: Numbers of the recorded episodes to play again, each to its first success; None: the
            first ones of an evaluation.

    Raises:
        UserError: Nothing can be rendered here, or the file cannot be written.
        RunFailed: The environment failed.
    """
    from gipo_cli.envs.make import make_env
    from gipo_cli.training.evaluate import EVALUATION_INDEX, LANES, Episode
    from gipo_cli.training.record import DEMONSTRATION_INDEX

    _check_pictures(cfg, seed)
    upside_down = cfg.name == "metaworld" and "camera_name" not in cfg.kwargs
    if upside_down:
        # Upstream's default view, from behind the robot, hides the gripper; the others are upside down.
        cfg = cfg.model_copy(update={"kwargs": {**cfg.kwargs, "camera_name": METAWORLD_CAMERA}})
    returns, successes, frames = [], [], 0
    again = demonstrated is not None
    index, goals = (DEMONSTRATION_INDEX, "random") if again else (EVALUATION_INDEX, "cycle")
    with closing(
        make_env(cfg, seed, index, task_seed=task_seed, goals=goals, render_mode="rgb_array")  # type: ignore[arg-type]
    ) as env:
        native = float(env.metadata.get("render_fps") or _REAL_TIME_FPS) / cfg.action.repeat
        every = every or max(1, round(native / _REAL_TIME_FPS))
        fps = fps or native / every
        with _writing(path, fps) as append:
            for number in demonstrated or range(episodes):
                episode, outcome = Episode(env, number, stop_at_success=again), None
                # The batch of an evaluation: in one of another size the same actions are rounded differently.
                observations = np.zeros((LANES, *episode.observation.shape), np.float32)
                while True:
                    if outcome is not None or episode.steps % every == 0:
                        picture = _draw(env)
                        append(picture[::-1, ::-1] if upside_down else picture)
                        frames += 1
                    if outcome is not None:
                        break
                    observations[number % LANES] = episode.observation
                    outcome = episode.step(act(observations)[number % LANES])
                returns.append(outcome[0])
                if not np.isnan(outcome[2]):
                    successes.append(bool(outcome[2]))
    return Film(path, frames, fps, returns, successes)


def _check_pictures(cfg: EnvConfig, seed: int) -> None:
    """Ask a Gymnasium environment which pictures it makes; it only warns when it is asked for others."""
    from gipo_cli.envs.make import make_env

    if cfg.name == "gymnasium":
        with closing(make_env(cfg, seed)) as env:
            modes = env.metadata.get("render_modes") or []
        if "rgb_array" not in modes:
            offered = f"only {', '.join(modes)}" if modes else "none"
            raise UserError(
                f"{cfg.id} makes no pictures for a film: its metadata must name the render mode rgb_array, "
                f"and it names {offered}"
            )


def _draw(env: gym.Env[Any, Any]) -> np.ndarray:
    try:
        rendered = env.render()
    # A graphics driver may raise anything.
    except Exception as error:
        mujoco = any("mujoco" in kind.__module__ for kind in type(env.unwrapped).__mro__)
        raise UserError(
            f"the environment cannot be rendered here ({type(error).__name__}: {error})"
            + (f"; {REMEDY}" if mujoco else "")
        ) from error
    return picture_of(rendered)


def picture_of(rendered: Any) -> np.ndarray:
    """Return what an environment drew as a picture ``[height, width, 3]`` of bytes.

    Raises:
        RunFailed: It is no picture, or not clear which.
    """
    if isinstance(rendered, list | tuple) and rendered:
        # Those drawn since the last call, of which the last is the present.
        rendered = rendered[-1]
    picture: Any = rendered if isinstance(rendered, np.ndarray) else np.empty(0)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim == 3 and picture.shape[0] in _CHANNELS and picture.shape[2] not in _CHANNELS:
        picture = picture.transpose(1, 2, 0)
    if picture.ndim != 3 or picture.shape[2] not in _CHANNELS or not picture.size:
        what = getattr(rendered, "shape", None)
        what = f"an array of shape {list(what)}" if what is not None else type(rendered).__name__
        raise RunFailed(f"the environment renders {what} instead of pictures [height, width, 3]")
    picture = np.broadcast_to(picture[..., :3] if picture.shape[2] > 1 else picture, (*picture.shape[:2], 3))
    if picture.dtype == np.uint8:
        return np.asarray(picture)
    if picture.dtype.kind not in "biuf" or not (picture.min() >= 0 and picture.max() <= 255):
        raise RunFailed(
            f"the environment renders {picture.dtype} from {picture.min()} to {picture.max()} instead of "
            "pictures with values from 0 to 255, or from 0 to 1"
        )
    unit = picture.dtype.kind == "b" or (picture.dtype.kind == "f" and picture.max() <= 1)
    return np.asarray(np.round(picture * 255.0 if unit else picture), np.uint8)


def _of_one_size(append: Append) -> Append:
    """Give all pictures the size of the first, as a film must have it."""
    first: list[tuple[int, ...]] = []

    def resized(picture: np.ndarray) -> None:
        first.append(picture.shape)
        if picture.shape != first[0]:
            height, width, _ = first[0]
            rows = np.arange(height) * picture.shape[0] // height
            picture = picture[rows[:, None], np.arange(width) * picture.shape[1] // width]
        append(picture)

    return resized


@contextmanager
def _writing(path: Path, fps: float) -> Iterator[Append]:
    """Write a film aside and rename it, so that no half film is left under its name."""
    write = _gif if path.suffix.lower() == ".gif" else _mp4
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=path.parent) as folder:
            aside = Path(folder) / f"film{path.suffix.lower()}"
            with write(aside, fps) as append:
                yield _of_one_size(append)
            aside.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _gif(file: Path, fps: float) -> Iterator[Append]:
    from imageio.v3 import imwrite

    pictures: list[np.ndarray] = []
    yield pictures.append
    file.write_bytes(imwrite("<bytes>", pictures, extension=".gif", duration=1000 / fps, loop=0))


@contextmanager
def _mp4(file: Path, fps: float) -> Iterator[Append]:
    from imageio.v2 import get_writer
    from imageio_ffmpeg import count_frames_and_secs

    written = 0

    def append(picture: np.ndarray) -> None:
        nonlocal written
        writer.append_data(picture)
        written += 1

    options: dict[str, Any] = {"fps": fps, "macro_block_size": 2, "ffmpeg_log_level": "error"}
    writer: Any
    with get_writer(file, **options) as writer:
        yield append
    # ffmpeg writes in a process of its own, whose errors nobody hears of.
    try:
        stored, _ = count_frames_and_secs(str(file))
    except RuntimeError:
        stored = 0
    if stored != written:
        raise OSError(f"only {stored} of {written} pictures could be stored; is the disk full?")


def choose_renderer() -> tuple[str | None, str]:
    """Set ``MUJOCO_GL`` to a way of rendering that works here, if the user has not chosen one.

    Each is tried in a process of its own, since a broken graphics driver may end the process. Call it before
    anything imports OpenGL, which cannot change its mind later.

    Returns:
        The user's choice if it works; else the first that works of ``egl``, ``osmesa`` and, with a display,
        ``glfw``; None if nothing does, and what the first said.
    """
    # Gymnasium knows the names in small letters only.
    chosen, reason = os.environ.get("MUJOCO_GL", "").strip().lower(), ""
    screens = ("glfw",) if os.environ.get("DISPLAY") else ()
    candidates: tuple[str, ...] = (chosen,) if chosen else ("egl", "osmesa", *screens)
    for backend in candidates:
        with suppress(subprocess.TimeoutExpired):
            tried = subprocess.run(
                command("render-probe"),
                env=environment(MUJOCO_GL=backend),
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
            )
            if tried.returncode == 0:
                os.environ["MUJOCO_GL"] = backend
                return backend, ""
            said = tried.stdout.decode(errors="replace") or f"it ended with code {tried.returncode}"
            reason = reason or f"MUJOCO_GL={backend}: {said}"
    return None, reason


def probe() -> None:
    """Draw nothing with the renderer that ``MUJOCO_GL`` names; exit with 1 and say why if that fails."""
    try:
        import mujoco

        context = mujoco.GLContext(64, 64)
        context.make_current()
        context.free()
    # A graphics driver may raise anything.
    except Exception as error:
        sys.stdout.write(" ".join(f"{type(error).__name__}: {error}".split()))
        sys.stdout.flush()
        os._exit(1)


def new_file(folder: Path, step: int) -> Path:
    """Return a name that is still free for a film of the policy at a step."""
    names = (f"step_{step:012d}{suffix}.mp4" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for name in names if not (path := folder / name).exists())


def check_destination(out: Path) -> None:
    """Refuse a file that is there, or that is no film by its name.

    Raises:
        UserError: With the reason.
    """
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"{out} is neither {' nor '.join(FORMATS)}; end the name with one of them")
    if out.exists():
        raise UserError(f"{out} already exists and is not overwritten; give another name")

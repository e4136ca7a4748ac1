"""Films of episodes, as an evaluation plays them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, cycle, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gipo_cli.commands.pictures import captioned, picture_of, resized, scaled, tiled
from gipo_cli.commands.renderer import REMEDY
from gipo_cli.errors import UserError
from gipo_cli.runs.durable import TEMPORARY
from gipo_cli.runs.layout import check_out

if TYPE_CHECKING:
    import gymnasium as gym

    from gipo_cli.settings.schema import EnvConfig
    from gipo_cli.training.evaluate import Act, Episode

# ffmpeg's filters: H.264 needs even sides, and a GIF its own 256 colours.
FORMATS = {
    ".mp4": "pad=ceil(iw/2)*2:ceil(ih/2)*2,format=yuv420p",
    ".gif": "split[all][some];[some]palettegen[colours];[all][colours]paletteuse",
}
METAWORLD_CAMERA = "corner2"
_REAL_TIME_FPS = 30.0


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


@dataclass(frozen=True)
class Style:
    """How a film looks.

    Attributes:
        fps: Frames per second; None: the simulated speed.
        every: Steps per picture; None: as few as keep the simulated speed at 30 frames per second at most.
        height: Pixels of an episode's picture; None: as it is drawn.
        numbers: Write step, return and success on the pictures.
        together: Show all episodes at once, side by side.
    """

    fps: float | None = None
    every: int | None = None
    height: int | None = None
    numbers: bool = False
    together: bool = False


def film(
    act: Act,
    cfg: EnvConfig,
    path: Path,
    *,
    episodes: Sequence[int],
    seed: int,
    task_seed: int,
    style: Style = Style(),
    demonstrated: bool = False,
) -> Film:
    """Play episodes of an evaluation, or of demonstrations, and write their pictures to a file.

    ``act`` gives actions ``[LANES, ...]`` for float32 observations ``[LANES, d]``, as in ``Evaluator``; the
    file, ``.mp4`` or ``.gif``, appears only when it is complete; ``demonstrated``: the episodes are recorded
    demonstrations, each played to its first success.

    Raises:
        UserError: Nothing can be rendered here, or the file cannot be written.
        RunFailed: The environment failed.
    """
    from gipo_cli.training.evaluate import Episode

    _check_pictures(cfg, seed)
    upside_down, cfg = _watched(cfg)
    with ExitStack() as stack:
        count = len(episodes) if style.together else 1
        envs = [stack.enter_context(closing(_open(cfg, seed, task_seed, demonstrated))) for _ in range(count)]
        native = float(envs[0].metadata.get("render_fps") or _REAL_TIME_FPS) / cfg.action.repeat
        every = style.every or max(1, round(native / _REAL_TIME_FPS))
        fps = style.fps or native / every
        outcomes: dict[int, tuple[float, ...]] = {}

        def shoot(episode: Episode) -> np.ndarray:
            return _styled(_draw(episode.env), episode, style, upside_down=upside_down)

        def played(number: int, env: gym.Env[Any, Any]) -> Iterator[np.ndarray]:
            episode = Episode(env, number, demonstrated)
            yield from _play(episode, act, every, shoot, outcomes)

        encoder = stack.enter_context(_writing(path, fps))
        streams = list(starmap(played, zip(episodes, cycle(envs), strict=False)))
        for picture in _beside(streams) if style.together else chain.from_iterable(streams):
            encoder.add(picture)
    found = [outcomes[number] for number in episodes]
    successes = [bool(outcome[2]) for outcome in found if not np.isnan(outcome[2])]
    return Film(path, encoder.frames, fps, [outcome[0] for outcome in found], successes)


def _watched(cfg: EnvConfig) -> tuple[bool, EnvConfig]:
    """Whether pictures are upside down, and the environment with its camera."""
    if cfg.name != "metaworld" or "camera_name" in cfg.kwargs:
        return False, cfg
    # Upstream's default view, from behind the robot, hides the gripper; the others are upside down.
    return True, cfg.model_copy(update={"kwargs": {**cfg.kwargs, "camera_name": METAWORLD_CAMERA}})


def _styled(picture: np.ndarray, episode: Episode, style: Style, *, upside_down: bool) -> np.ndarray:
    picture = picture[::-1, ::-1] if upside_down else picture
    picture = picture if style.height is None else scaled(picture, style.height)
    return captioned(picture, _numbers(episode)) if style.numbers else picture


def _numbers(episode: Episode) -> str:
    won = "" if np.isnan(episode.first_success) else "   success"
    return f"step {episode.steps}   return {episode.total:.4g}{won}"


def _beside(streams: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Pictures of all at once; one that has ended keeps its last."""
    shown = [next(stream) for stream in streams]
    while True:
        yield tiled(shown)
        following = [next(stream, None) for stream in streams]
        if all(picture is None for picture in following):
            return
        shown = [old if new is None else new for old, new in zip(shown, following, strict=True)]


def _open(cfg: EnvConfig, seed: int, task_seed: int, demonstrated: bool) -> gym.Env[Any, Any]:
    from gipo_cli.envs.make import make_env
    from gipo_cli.training.evaluate import EVALUATION_INDEX
    from gipo_cli.training.record import DEMONSTRATION_INDEX

    if demonstrated:
        return make_env(cfg, seed, DEMONSTRATION_INDEX, task_seed=task_seed, render_mode="rgb_array")
    return make_env(cfg, seed, EVALUATION_INDEX, task_seed=task_seed, goals="cycle", render_mode="rgb_array")


def _play(
    episode: Episode,
    act: Act,
    every: int,
    shoot: Callable[[Episode], np.ndarray],
    outcomes: dict[int, tuple[float, ...]],
) -> Iterator[np.ndarray]:
    """Play an episode to its end; a picture of every so many steps and of the last. Note its outcome."""
    from gipo_cli.training.evaluate import LANES

    # The batch of an evaluation: in one of another size the same actions are rounded differently.
    observations = np.zeros((LANES, *episode.observation.shape), np.float32)
    lane, outcome = episode.number % LANES, None  # type: int, tuple[float, ...] | None
    while outcome is None:
        if episode.steps % every == 0:
            yield shoot(episode)
        observations[lane] = episode.observation
        outcome = episode.step(act(observations)[lane])
    outcomes[episode.number] = outcome
    yield shoot(episode)


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


class _Encoder:
    """Pictures on their way into a file, through a process of ffmpeg; all get the size of the first."""

    def __init__(self, file: Path, fps: float) -> None:
        self._file, self._fps = file, fps
        self.frames, self._size = 0, (0, 0)
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, picture: np.ndarray) -> None:
        if self._process is None:
            self._size = picture.shape[1], picture.shape[0]
            self._process = self._start()
        picture = resized(picture, self._size)
        self.frames += 1
        # Why it stopped reading is known at the end.
        with suppress(BrokenPipeError):
            self._process.stdin.write(picture.tobytes())  # type: ignore[union-attr]

    def _start(self) -> subprocess.Popen[bytes]:
        from imageio_ffmpeg import get_ffmpeg_exe

        width, height = self._size
        given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{self._fps}"]
        made = ["-vf", FORMATS[self._file.suffix], f"file:{self._file}"]
        command = [get_ffmpeg_exe(), "-loglevel", "error", *given, "-i", "-", *made]
        # In a session of its own it does not hear Ctrl-C, which is answered here.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        """Wait until the file is whole; an OSError if it is not."""
        if self._process is not None:
            _, said = self._process.communicate()
            if self._process.returncode:
                last = said.decode(errors="replace").strip().rpartition("\n")[2]
                raise OSError(None, f"{last or 'ffmpeg ended early'}; is the disk full?")


@contextmanager
def _writing(path: Path, fps: float) -> Iterator[_Encoder]:
    """Write a film aside and rename it, so that no half film is left under its name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=path.parent) as folder:
            aside = Path(folder) / f"film{path.suffix.lower()}"
            with closing(_Encoder(aside, fps)) as encoder:
                yield encoder
            aside.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def new_file(folder: Path, step: int) -> Path:
    """Return a name that is still free for a film of the policy at a step."""
    names = (f"step_{step:012d}{suffix}.mp4" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for name in names if not (path := folder / name).exists())


def check_destination(out: Path) -> None:
    """Refuse a file that is there, that a link leads to, or that is no film by its name.

    Raises:
        UserError: With the reason.
    """
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"{out} is neither {' nor '.join(FORMATS)}; end the name with one of them")
    check_out(out)
    if out.exists():
        raise UserError(f"{out} already exists and is not overwritten; give another name")

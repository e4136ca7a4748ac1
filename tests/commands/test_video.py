import os
import resource
import shutil
import signal
from pathlib import Path
from typing import ClassVar

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from command import gipo

from gipo_cli.commands.film import Style, film
from gipo_cli.commands.renderer import choose_renderer
from gipo_cli.commands.video import record
from gipo_cli.errors import RunFailed, UserError
from gipo_cli.settings.schema import EnvConfig
from gipo_cli.training.eval_report import evaluate_run
from gipo_cli.training.evaluate import Evaluator

FETCH = EnvConfig(name="fetch_reach")


def up(observations):
    return np.tile(np.float32([0, 0, 1, 0]), (len(observations), 1))


@pytest.fixture(scope="module")
def renderer():
    found, _ = choose_renderer()
    if found is None:
        pytest.skip("no EGL or OSMesa here")
    return found


def test_a_film_of_two_episodes(renderer, tmp_path):
    path = tmp_path / "a folder é" / "film.mp4"
    made = film(up, FETCH, path, episodes=range(2), seed=3, task_seed=1, style=Style(every=10))
    assert (len(made.returns), len(made.successes)) == (2, 2)
    # The start and every tenth of 50 steps.
    assert made.frames == 2 * 6
    assert made.fps == 2.5
    evaluator = Evaluator(FETCH, seed=3, task_seed=1)
    np.testing.assert_allclose(made.returns, evaluator.run(up, 2).returns, rtol=1e-6)
    evaluator.close()
    pictures = iio.imread(path)
    assert pictures.shape == (12, 480, 480, 3)
    assert pictures[0].std() > 10
    # The arm moves; the second episode starts where the first did.
    moved = np.abs(pictures[5].astype(int) - pictures[0]).mean()
    assert moved > 3 * np.abs(pictures[6].astype(int) - pictures[0]).mean()
    assert [entry.name for entry in path.parent.iterdir()] == ["film.mp4"]


def test_a_gif_of_metaworld_shows_the_robot_the_right_way_up(renderer, tmp_path):
    cfg = EnvConfig(name="metaworld", task="reach-v3", max_episode_steps=4)
    made = film(up, cfg, tmp_path / "a.GIF", episodes=range(1), seed=3, task_seed=1, style=Style(fps=5))
    assert (made.frames, made.fps) == (3, 5)
    picture = iio.imread(tmp_path / "a.GIF")[0].astype(int)
    # The grey background is at the top, the robot's red to the left of the middle.
    assert np.abs(picture[:20] - picture[:20].mean((0, 1))).max() < 20
    red = (picture[..., 0] > 120) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    assert np.nonzero(red)[1].mean() < 240


def test_an_error_leaves_no_half_film(renderer, tmp_path):
    calls = []

    def fail(observations):
        calls.append(1)
        if len(calls) == 5:
            raise RunFailed("broken")
        return up(observations)

    with pytest.raises(RunFailed, match="broken"):
        film(fail, FETCH, tmp_path / "a.mp4", episodes=range(1), seed=3, task_seed=1, style=Style(every=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_film_that_does_not_fit_the_disk_is_one_sentence(renderer, tmp_path, name):
    cfg = FETCH.model_copy(update={"max_episode_steps": 4})
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(UserError, match=rf"cannot write .*{name}"):
            film(up, cfg, tmp_path / name, episodes=range(1), seed=3, task_seed=1, style=Style(every=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_filmed_again_and_again_without_overwriting(renderer, trained_run):
    first = record(trained_run, style=Style(every=25))
    second = record(trained_run, style=Style(every=25), checkpoint="last")
    assert first.path.parent == trained_run / "videos"
    assert first.path != second.path
    assert second.path.name.startswith("step_000000000256")
    assert first.path.is_file()
    assert second.frames == 3


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_film_shows_the_episodes_of_the_evaluation_to_the_bit(
    renderer, trained_run, tmp_path, deterministic
):
    torch.manual_seed(99)
    wanted = {"checkpoint": "last", "deterministic": deterministic}
    filmed = record(
        trained_run,
        out=tmp_path / "a.mp4",
        style=Style(every=50),
        episodes=2 if deterministic else 1,
        **wanted,
    )
    evaluated = evaluate_run(trained_run, episodes=6, **wanted)
    assert filmed.returns == evaluated.returns[: len(filmed.returns)]


def test_a_folder_that_cannot_be_written_is_one_sentence(renderer, trained_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        record(trained_run, out=tmp_path / "file" / "a.mp4", style=Style(every=25))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--out a.avi", "neither .mp4 nor .gif"),
        ("--out taken.mp4", "already exists and is not overwritten"),
        ("--out linked.mp4", "linked.mp4 is a link, and gipo writes through none"),
        ("--out run/videos/a.mp4", "run/videos is a link, and gipo writes through none"),
        ("--episodes 0", "invalid value for '--episodes'"),
        ("--every -1", "invalid value for '--every'"),
        ("--fps 0.0", "invalid value for '--fps'"),
        ("--checkpoint 77", "no checkpoint of step 77"),
    ],
)
def test_a_request_that_does_not_fit_is_one_sentence(trained_run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gipo_cli.commands.renderer.choose_renderer", lambda: ("egl", ""))
    shutil.copytree(trained_run, "run")
    Path("run/videos").mkdir(exist_ok=True)
    shutil.move("run/videos", "elsewhere")
    if "videos" in words:
        Path("run/videos").symlink_to(tmp_path / "elsewhere")
    Path("taken.mp4").write_text("mine")
    Path("linked.mp4").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    done = gipo("video", "./run", *words.split(), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


class Silent(gym.Env):
    """Has a picture of nothing, or fails to draw, but no graphics driver."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def render(self):
        raise ImportError("no pencil")


class Broken(Silent):
    metadata: ClassVar = {"render_modes": ["human", "rgb_array"]}


@pytest.mark.parametrize(
    ("kind", "modes", "message"),
    [
        (Silent, [], r"Silent-v0 makes no pictures for a film: .* names none$"),
        (Silent, ["human"], r"names only human$"),
        (Broken, None, r"\(ImportError: no pencil\)$"),
    ],
)
def test_an_environment_that_cannot_be_drawn_is_one_sentence_about_it(
    kind, modes, message, tmp_path, monkeypatch, recwarn, capfd
):
    name = f"{kind.__name__}-v0"
    monkeypatch.setitem(gym.registry, name, gym.envs.registration.EnvSpec(name, entry_point=kind))
    if modes is not None:
        monkeypatch.setattr(kind, "metadata", {"render_modes": modes})
    with pytest.raises(UserError, match=message):
        film(
            up,
            EnvConfig(name="gymnasium", id=name),
            tmp_path / "a.mp4",
            episodes=range(1),
            seed=1,
            task_seed=1,
        )
    assert not recwarn.list
    assert capfd.readouterr().err == ""
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_rendered_one_line_says_what_to_install(trained_run, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(UserError) as caught:
        record(trained_run)
    said = str(caught.value)
    assert said.startswith("no renderer works here (MUJOCO_GL=disable: ")
    assert "apt-get install libegl1 libgl1 libgl1-mesa-dri" in said
    assert "\n" not in said


def test_the_users_choice_of_renderer_is_respected(renderer, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", renderer.upper())
    assert choose_renderer() == (renderer, "")
    assert os.environ["MUJOCO_GL"] == renderer
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", "99")
    if renderer == "egl":
        assert choose_renderer()[1].startswith("MUJOCO_GL=egl: RuntimeError: ")

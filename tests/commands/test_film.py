"""Pictures of every form that environments draw; no MuJoCo."""

from typing import ClassVar

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
from command import gipo

from gipo_cli.commands.film import Style, film
from gipo_cli.commands.pictures import captioned, picture_of, scaled, tiled
from gipo_cli.errors import RunFailed
from gipo_cli.settings.schema import EnvConfig

RGB = np.zeros((32, 48, 3), np.uint8)
RGB[:, :20] = (255, 0, 128)
GRAY = RGB[..., 0]
FORMS = {
    "rgb": RGB,
    "rgba": np.concatenate([RGB, np.full((32, 48, 1), 7, np.uint8)], 2),
    "float": RGB / np.float32(255),
    "float255": RGB.astype(np.float64),
    "int64": RGB.astype(np.int64),
    "channels first": RGB.transpose(2, 0, 1),
    "list": [RGB[::-1] // 2, RGB],
    "float channels first in a list": [RGB.transpose(2, 0, 1) / 255],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_colour_picture(form: str):
    picture = picture_of(FORMS[form])
    np.testing.assert_array_equal(picture, RGB)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("picture", [GRAY, GRAY[..., None], GRAY[None], GRAY > 0, GRAY / 255.0])
def test_forms_of_a_grey_picture(picture: np.ndarray):
    np.testing.assert_array_equal(picture_of(picture), GRAY[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("rendered", "message"),
    [
        (None, "renders NoneType instead of pictures"),
        ([], "renders list instead"),
        ("text", "renders str instead"),
        (np.zeros((7, 5, 2)), r"renders an array of shape \[7, 5, 2\] instead"),
        (np.zeros((0, 5, 3)), r"of shape \[0, 5, 3\]"),
        (np.zeros((2, 4, 5, 3)), r"of shape \[2, 4, 5, 3\]"),
        (np.full((4, 5, 3), np.nan), "renders float64 from nan to nan instead of pictures with values"),
        (np.full((4, 5, 3), -1), "renders int64 from -1 to -1"),
        (np.full((4, 5, 3), 256), "from 256 to 256"),
        (np.zeros((4, 5, 3), complex), "renders complex128"),
    ],
)
def test_what_is_no_picture_is_one_sentence(rendered: object, message: str):
    with pytest.raises(RunFailed, match=message):
        picture_of(rendered)


class Growing(gym.Env):
    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, render_mode: str | None = None):
        self.render_mode, self.t = render_mode, 0

    def reset(self, *, seed: int | None = None, options: object = None):
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray):
        self.t += 1
        return np.zeros(2, np.float32), 1.0, False, self.t == 3, {}

    def render(self):
        picture = np.zeros((32 + 8 * self.t, 48 - 8 * self.t, 3), np.uint8)
        picture[:, : picture.shape[1] // 2] = 255
        return picture


FILMS = """
import gymnasium as gym, numpy as np
from test_film import FORMS, GRAY, Growing

class Odd(Growing):
    def __init__(self, form="grey", render_mode=None):
        super().__init__(render_mode)
        self.form = form

    def render(self):
        return {**FORMS, "none": None}[self.form]

gym.register("Odd-v0", Odd)
"""


def test_odd_pictures_on_the_command_line(tmp_path):
    (tmp_path / "films.py").write_text(FILMS)
    words = ["env=gymnasium", "env.id=Odd-v0", "env.imports=[films]", "total_steps=6",
             "agent.rollout_steps=6", "buffer.size=6", "agent.update.rounds=1", "diagnostics=never",
             "eval.interval=null", "eval.episodes=1", "--quiet"]  # fmt: skip
    for form in ("float", "channels first", "none"):
        named = [f"env.kwargs.form={form}", "--name", form.replace(" ", "-")]
        assert gipo("train", *words, *named, cwd=tmp_path).returncode == 0
    for name in ("float", "channels-first"):
        done = gipo("video", name, "--trust", "--out", f"{name}.gif", cwd=tmp_path)
        assert done.stdout == f"{name}.gif: 4 frames, 1 episode\n", done.stderr
        np.testing.assert_allclose(iio.imread(tmp_path / f"{name}.gif")[0], RGB, atol=8)
    done = gipo("video", "none", "--trust", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the environment renders NoneType instead of pictures [height, width, 3]" in done.stderr


def test_scaled_captioned_and_tiled():
    picture = np.zeros((200, 300, 3), np.uint8)
    assert scaled(picture, 100).shape == (100, 150, 3)
    text = captioned(picture, "step 3")
    assert text[:20].any()
    assert not text[20:].any()
    # There is no room for it.
    np.testing.assert_array_equal(captioned(RGB, "step 3"), RGB)
    numbered = [np.full((4, 6, 3), number, np.uint8) for number in (1, 2, 3, 4, 5)]
    assert tiled(numbered[:3])[::4, ::6, 0].tolist() == [[1, 2, 3]]
    grid = tiled(numbered)
    assert grid.shape == (8, 18, 3)
    assert grid[::4, ::6, 0].tolist() == [[1, 2, 3], [4, 5, 0]]


@pytest.fixture
def grown(tmp_path, monkeypatch):
    spec = gym.envs.registration.EnvSpec("Growing-v0", entry_point=Growing)
    monkeypatch.setitem(gym.registry, "Growing-v0", spec)
    cfg, act = EnvConfig(name="gymnasium", id="Growing-v0"), lambda o: np.zeros((len(o), 1))

    def made(episodes, **style):
        path = tmp_path / "a.gif"
        return film(act, cfg, path, episodes=episodes, seed=1, task_seed=1, style=Style(every=1, **style))

    return made


def test_episodes_side_by_side_are_as_long_as_one(grown):
    made = grown(range(3), together=True, height=16, numbers=True)
    assert (made.frames, made.returns) == (4, [3.0, 3.0, 3.0])
    # Three of 24 by 16 pixels.
    pictures = iio.imread(made.path)
    assert pictures.shape[1:] == (16, 72, 3)
    assert all((pictures[0, :, start : start + 10] > 200).all() for start in (0, 24, 48))


def test_pictures_that_change_their_size_are_shown_in_that_of_the_first(grown):
    made = grown(range(1))
    assert (made.frames, made.fps, made.returns, made.successes) == (4, 10, [3.0], [])
    pictures = iio.imread(made.path)
    assert pictures.shape[1:] == (32, 48, 3)
    for picture in pictures:
        assert (picture[:, :24] == 255).all()
        assert (picture[:, 24:] == 0).all()

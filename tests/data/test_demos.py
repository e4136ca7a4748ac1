import io
import json
import os

import numpy as np
import pytest

from gipo_cli.data import demos
from gipo_cli.data.demo_files import find, found, listed
from gipo_cli.errors import UserError

ARRAYS = {
    "obs": np.arange(10.0).reshape(5, 2),
    "action": np.linspace(-1, 1, 5)[:, None],
    "length": np.array([2, 3]),
    "reward": np.array([1.0, 2, 3, 4, 5]),
    "success": np.array([0, 1, 0, 0, 0]),
    "about": np.array(json.dumps({"seed": 7})),
}


def made(**changes):
    return demos.from_arrays({k: v for k, v in {**ARRAYS, **changes}.items() if v is not None}, "it")


def test_episodes_are_cut_where_their_lengths_say():
    found = made()
    assert (len(found), found.steps, found.about) == (2, 5, {"seed": 7})
    assert found.starts.tolist() == [0, 2]
    assert found.successful.tolist() == [True, False]
    assert found.returns.tolist() == [3.0, 12.0]
    second = found.chosen(np.array([1]))
    assert second.reward.tolist() == [3, 4, 5]
    assert second.obs[:, 0].tolist() == [4, 6, 8]
    # The last observation stands in for the one after the episode, which this file does not hold.
    assert found.final_obs.tolist() == [[2, 3], [8, 9]]


def test_no_success_recorded_means_that_all_demonstrate_it():
    assert made(success=None).successful.all()
    assert made(reward=None).returns is None


def test_a_file_comes_back_as_it_was_and_has_the_same_bytes(tmp_path):
    tree = made(obs=None, **{"obs.arm": ARRAYS["obs"], "obs.eye.left": np.ones((5, 3))})
    demos.save(tree, tmp_path / "a.npz")
    again = demos.load(tmp_path / "a.npz")
    assert again.to_bytes() == tree.to_bytes() == (tmp_path / "a.npz").read_bytes()
    np.testing.assert_array_equal(again.obs["eye"]["left"], np.ones((5, 3)))
    assert again.obs["arm"].dtype == np.float32
    with pytest.raises(UserError, match="already exists and is not overwritten"):
        demos.save(tree, tmp_path / "a.npz")


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/gipo-was-here",)


def test_a_strangers_file_executes_nothing(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, **{**ARRAYS, "obs": np.array([Evil()] * 5, object)})
    with pytest.raises(
        UserError, match="no NPZ file of plain arrays: it holds Python objects; record a dict"
    ):
        demos.from_bytes(stream.getvalue(), "theirs")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obs": None}, "no array 'obs'; needed are obs"),
        ({"length": np.array([2, 2])}, "adds up to 4 steps and there are 5 actions"),
        ({"length": np.array([5, 0])}, "1 or more"),
        ({"action": np.zeros((0, 1)), "length": np.array([], int)}, "is empty"),
        ({"obs": np.full((5, 2), np.nan)}, "obs is NaN or infinite in row 0; leave that episode out"),
        ({"action": np.array([0, 0, np.inf, 0, 0])}, "action is NaN or infinite in row 2"),
        ({"reward": np.ones(4)}, "reward has 4 rows and there are 5 actions"),
        ({"goal": np.ones(3)}, "goal has 3 rows and there are 2 episodes"),
        ({"action": np.array(["a"] * 5)}, "action holds <U1 and not numbers"),
        ({"about": np.array("{")}, "about is not JSON"),
        ({"about": np.array("[1]")}, "about: "),
        ({"about": np.array('{"env": "reach"}')}, r"about\.env: "),
        ({"about": np.array('{"env": {"name": 5}}')}, r"about\.env\.name: "),
        ({"about": np.array('{"noise": "much"}')}, r"about\.noise: "),
        ({"about": np.array('{"versions": {"mujoco": [3]}}')}, r"about\.versions\.mujoco: "),
        ({"success": np.array([0, 0.1, 1, 0, 1])}, "success is 0.1 in row 1, which says neither yes nor no"),
        ({"success": np.array([0, 1, 1, -1, 1])}, "success is -1 in row 3"),
        ({"success": np.array(["False"] * 5)}, "success holds <U5 and not numbers"),
        ({"terminated": np.array([np.nan, 1])}, "terminated is NaN or infinite in row 0"),
        ({"length": np.array([2.5, 2.5])}, "length is 2.5 in row 0, which is no whole number"),
        ({"length": np.array([2**62, 5 - 2**62])}, "in row 0, which is no whole number"),
        ({"number": np.array([0, np.inf])}, "number is inf in row 1"),
        ({"obs": None, "obs.a": np.ones((5, 1)), "obs.a.b": np.ones((5, 1))}, "are no demonstrations"),
    ],
)
def test_what_is_no_demonstration_is_one_sentence(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        made(**changes)
    assert "\n" not in str(caught.value)


def test_a_file_that_claims_to_hold_too_much_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(demos, "LARGEST", 100)
    with pytest.raises(UserError, match=r"it claims [\d,]+ bytes, too many for demonstrations"):
        demos.from_bytes(made().to_bytes(), "theirs")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_off(share):
    data = made().to_bytes()
    with pytest.raises(UserError, match="or is cut off"):
        demos.from_bytes(data[: int(share * len(data))], "half")


def test_demonstrations_are_found_by_name_beginning_and_path(tmp_path):
    path = tmp_path / "demos" / "push-5.npz"
    demos.save(made(), path)
    assert listed(tmp_path) == [path]
    for ref in ("push-5", "push-5.npz", "pus", str(path)):
        assert find(tmp_path, ref) == path
    assert found(tmp_path, "push-5") == found(tmp_path, str(path)) == path
    assert found(tmp_path, "pus") is None
    with pytest.raises(UserError, match=r"no demonstrations 'psh-5' \(did you mean push-5\?\)"):
        find(tmp_path, "psh-5")
    # A run of that name is meant first.
    (tmp_path / "push-5").mkdir()
    assert found(tmp_path, "push-5") is None

import numpy as np
import pytest
import torch
from env_tools import ACTION, Script, wrap
from odd_envs import Base

from gipo_cli.envs.success import read_success
from gipo_cli.errors import RunFailed


class Says(Base):
    def __init__(self, flag):
        super().__init__()
        self.flag = flag

    def step(self, action):
        return *super().step(action)[:4], {"success": self.flag}


@pytest.mark.parametrize(
    "flag",
    [
        *(True, 1, 1.0, np.True_, np.int64(1), np.float32(1), np.uint8(1)),
        *([True], [1.0], (1,), [[True]], np.array(1), np.ones((1, 1)), torch.tensor(True), torch.ones(1)),
        *({"task": True}, {"task": 1}, {"task": np.array([True]), "grasp": False}),
    ],
    ids=repr,
)
def test_yes_and_the_same_with_no(flag):
    assert read_success("success", flag) is True
    opposite = {"task": False, "grasp": True} if isinstance(flag, dict) else type(flag)
    if opposite in (list, tuple):
        opposite = np.logical_not(flag).tolist()
    elif not isinstance(opposite, dict):
        opposite = flag ^ True if isinstance(flag, bool | np.bool_) else flag * 0
    assert read_success("success", opposite) is False


@pytest.mark.parametrize(
    "flag",
    [
        *(
            0.1,
            2,
            -1,
            float("nan"),
            float("inf"),
            np.float32(0.5),
            1j,
            "False",
            "",
            b"1",
            "1",
            NotImplemented,
        ),
        *([], [True, False], [[0, 1]], np.zeros(2), [[1], [1, 2]], np.array(None), np.array("1")),
        *({}, {"task": None}, {"task": 0.3}, {"task": {"task": True}}, {"success": True}, {"task": [0, 1]}),
    ],
    ids=repr,
)
def test_anything_else_is_one_sentence_with_key_and_value(flag):
    env = wrap(Says(flag), limit=3)
    env.reset()
    with pytest.raises(
        RunFailed, match=r"^environment script .*info\['success'\] is .*env\.success_key$"
    ) as caught:
        env.step(ACTION)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_long_value_is_shortened():
    with pytest.raises(RunFailed, match="…, which says neither"):
        read_success("solved", np.zeros(100))


@pytest.mark.parametrize(
    "flag", ["False", float("nan"), -1, 0.5, None, [], [True, False], {"task": True}, np.array("")], ids=repr
)
@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_an_end_that_is_neither_true_nor_false_is_one_sentence(flag, name):
    ends = (flag, False) if name == "terminated" else (False, flag)
    env = wrap(Script([(0.0, {}, *ends)]), limit=3)
    env.reset()
    with pytest.raises(RunFailed, match=f"{name} is .*, which is neither true nor false; make it a bool$"):
        env.step(ACTION)


@pytest.mark.parametrize(
    ("flag", "ends"), [(np.array([0]), False), ([1.0], True), (np.True_, True)], ids=repr
)
def test_an_end_is_read_by_its_value(flag, ends):
    env = wrap(Script([(0.0, {}, flag, False)]), limit=3)
    env.reset()
    assert env.step(ACTION)[2] is ends

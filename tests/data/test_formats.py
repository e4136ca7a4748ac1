"""Files of Minari are written by Minari itself; robomimic's layout is that of its documentation."""

import gymnasium as gym
import numpy as np
import pytest
import toy_robot

from gipo_cli.data.formats import read
from gipo_cli.errors import UserError

h5py = pytest.importorskip("h5py")


def test_a_dataset_that_minari_wrote(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    from minari.data_collector import EpisodeBuffer

    env, episodes = gym.make(toy_robot.ID), []
    for episode in range(3):
        seen, acts, rewards, flags = [env.reset(seed=episode)[0]], [], [], []
        for _ in range(4 + episode):
            acts.append(toy_robot.expert(seen[-1]))
            obs, reward, _, _, info = env.step(acts[-1])
            seen.append(obs)
            rewards.append(reward)
            flags.append(info["success"])
        # Minari keeps the info of the reset too.
        infos = {"success": np.array([False, *flags])}
        ends = [False] * len(acts)
        episodes.append(EpisodeBuffer(episode, None, None, seen, acts, rewards, ends, ends, infos))
    minari.create_dataset_from_buffers(
        "toy/point-v0", episodes, observation_space=env.observation_space, action_space=env.action_space
    )
    found = read(tmp_path / "toy" / "point-v0")
    assert found.length.tolist() == [4, 5, 6]
    np.testing.assert_allclose(found.reward, np.concatenate([e.rewards for e in episodes]), rtol=1e-6)
    np.testing.assert_allclose(found.final_obs, [e.observations[-1] for e in episodes], rtol=1e-6)
    np.testing.assert_allclose(found.action[0], toy_robot.expert(found.obs[0]), rtol=1e-5)
    flags = np.concatenate([e.infos["success"][1:] for e in episodes])
    np.testing.assert_array_equal(found.success, flags)


def robomimic(path, episodes=2, **replaced):
    """``data/demo_K`` with ``obs`` of vectors, ``actions``, ``rewards`` and ``dones``."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        # Ten of them: demo_10 comes after demo_9.
        for k in range(episodes):
            group = data.create_group(f"demo_{k}")
            group["actions"] = np.full((3, 2), 0.1 * k)
            group["rewards"] = np.array([0.0, 0, 1])
            group["dones"] = np.array([0, 0, 1])
            group["obs/eef_pos"] = np.full((3, 3), k)
            group["obs/gripper"] = np.zeros((3, 1))
            group["next_obs/eef_pos"] = np.full((3, 3), k + 0.5)
            group["next_obs/gripper"] = np.ones((3, 1))
        for name, value in replaced.items():
            group = data["demo_0"]
            key = name.replace("__", "/")
            if key in group:
                del group[key]
            group[key] = value
    return path


def test_robomimics_file(tmp_path):
    found = read(robomimic(tmp_path / "low_dim.hdf5", episodes=11))
    assert found.obs["eef_pos"][::3, 0].tolist() == list(range(11))
    assert found.final_obs["eef_pos"][:, 0].tolist() == [k + 0.5 for k in range(11)]
    assert found.successful.all()
    assert found.terminated.all()
    assert found.success[:3].tolist() == [False, False, True]


def virtual(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["secret"] = np.zeros((3, 2))
    layout = h5py.VirtualLayout((3, 2), np.float64)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "secret", (3, 2))
    path = robomimic(tmp_path / "virtual.hdf5")
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0"].create_virtual_dataset("actions", layout)
    return path


def raw(tmp_path):
    (tmp_path / "raw.bin").write_bytes(bytes(48))
    path = robomimic(tmp_path / "raw.hdf5")
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/actions"]
        external = [(str(tmp_path / "raw.bin"), 0, 48)]
        file["data/demo_0"].create_dataset("actions", (3, 2), np.float64, external=external)
    return path


FILES = {
    "external": (
        lambda at: robomimic(at / "x.hdf5", actions=h5py.ExternalLink("/etc/passwd", "/x")),
        "demo_0/actions is an external link, which is not followed",
    ),
    "soft": (
        lambda at: robomimic(at / "x.hdf5", actions=h5py.SoftLink("/data/demo_1/actions")),
        "demo_0/actions is a soft link",
    ),
    "virtual": (virtual, "demo_0/actions is a virtual dataset, which other files fill"),
    "raw": (raw, r"demo_0/actions lies in another file \(.*raw.bin\)"),
    "pictures": (
        lambda at: robomimic(at / "x.hdf5", obs__camera=np.zeros((3, 4, 4, 3))),
        "demo_0/obs/camera holds pictures",
    ),
    "partly": (
        lambda at: robomimic(at / "x.hdf5", obs__force=np.zeros((3, 6)), next_obs__force=np.zeros((3, 6))),
        "1 of 2 episodes have obs.force",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_points_elsewhere_or_does_not_fit_is_refused_by_name(kind, tmp_path):
    make, message = FILES[kind]
    with pytest.raises(UserError, match=message):
        read(make(tmp_path))


def test_other_files(tmp_path):
    (tmp_path / "half.hdf5").write_bytes(robomimic(tmp_path / "whole.hdf5").read_bytes()[:500])
    with pytest.raises(UserError, match="is no HDF5 file, or is cut off"):
        read(tmp_path / "half.hdf5")
    with h5py.File(tmp_path / "empty.hdf5", "w"):
        pass
    with pytest.raises(UserError, match="holds no group episode_0"):
        read(tmp_path / "empty.hdf5")
    with pytest.raises(UserError, match="is no dataset of Minari"):
        read(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match="is no file of demonstrations"):
        read(tmp_path / "a.txt")

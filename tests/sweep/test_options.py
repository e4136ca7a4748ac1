"""Clusters that are not there."""

import socket
import sys

import pytest

from gipo_cli.errors import UserError
from gipo_cli.sweep import on_ray, on_slurm
from gipo_cli.sweep.options import Options


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, engine: str, package: str):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ray", "submitit")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UserError, match=f"type: pip install {package}$"):
        Options(engine=engine).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(engine="sge"), "there is no backend 'sge'; choose from: local, ray, slurm"),
        (Options(jobs=0), "--jobs 0 would run nothing"),
        (Options(cpus=2), "--cpus and --gpus are of a cluster; add --backend ray or slurm"),
        (Options(address="a:1"), "add --backend ray"),
        (Options(slurm=["a=1"]), "add --backend slurm"),
    ],
)
def test_options(options: Options, message: str):
    with pytest.raises(UserError, match=message):
        options.check()


@pytest.mark.parametrize("address", ["here", "host:", ":1", "host:port"])
def test_odd_address(address: str):
    with pytest.raises(UserError, match="is not an address of a Ray cluster; write host:port"):
        on_ray._check_answer(address)


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UserError, match=rf"nothing answers at 127\.0\.0\.1:{port}"):
        on_ray._check_answer(f"127.0.0.1:{port}")


def test_slurm_options():
    assert on_slurm.parse(["timeout_min=60", "slurm_partition=short"]) == {
        "timeout_min": 60,
        "slurm_partition": "short",
    }
    with pytest.raises(UserError, match="'60' is no option; write key=value"):
        on_slurm.parse(["60"])


def test_no_slurm(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"no sbatch here|pip install"):
        on_slurm.check([])

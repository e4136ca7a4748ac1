"""Our Adam against torch's own, and what it leaves out."""

import subprocess
import sys

import pytest
import torch

from gipo_cli.learning.optimizers import Adam

UPDATE = """
import sys
from gipo_cli import GIPO
agent = GIPO(env="Pendulum-v1", device="cpu")
agent.learn(512)
assert agent.learner.optimizer_steps > 0
assert "torch._dynamo" not in sys.modules
"""


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("peer", [torch.optim.Adam, torch.optim.AdamW])
def test_steps_equal_torchs_to_the_bit(peer, fused):
    def trained(optimizer):
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.randn(50))
        stepper = optimizer([parameter], lr=0.01, weight_decay=0.1, fused=fused, foreach=not fused)
        for _ in range(5):
            stepper.zero_grad()
            (parameter.sin() * torch.randn(50)).sum().backward()
            stepper.step()
        return parameter

    def ours(parameters, **options):
        return Adam(parameters, decoupled_weight_decay=peer is torch.optim.AdamW, **options)

    assert torch.equal(trained(ours), trained(peer))


def test_an_update_does_not_import_torchs_compiler():
    subprocess.run([sys.executable, "-c", UPDATE], check=True, timeout=300)

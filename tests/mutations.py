"""`make test-mutations`: mistakes that must each turn a named test red, tried on a copy of the package.

A flip is a piece of text of the package and what to put in its place. Its test is run on an untouched copy
first, where it must pass, and then with the flip, where it must fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("gipo_cli", "tests", "conf", "pyproject.toml")


@dataclass(frozen=True)
class Flip:
    """A mistake: in ``file`` of the package, ``new`` instead of ``old``; ``test`` must notice."""

    mistake: str
    file: str
    old: str
    new: str
    test: str

    def spoilt(self, root: Path) -> str:
        """The file's text with the mistake in it.

        Raises: ValueError unless the text to be replaced is there exactly once.
        """
        text = (root / "gipo_cli" / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} holds {text.count(self.old)} times, not once: {self.old}")
        return text.replace(self.old, self.new)


UPDATER = "tests/learning/test_updater.py"
FLIPS = [
    Flip(
        "V-trace's log-ratio has the other sign",
        "learning/updater.py",
        "(log_prob.cpu() - torch.from_numpy(behaviour))",
        "(torch.from_numpy(behaviour) - log_prob.cpu())",
        f"{UPDATER}::test_vtrace_sees_the_ratio_of_todays_policy_to_the_behaviour_policy",
    ),
    Flip(
        "rewards are not scaled when a rollout is added",
        "data/replay.py",
        "rollout.reward * self.reward_scale",
        "rollout.reward",
        "tests/data/test_replay.py::test_reward_scale_is_applied_at_use_and_rewards_stay_raw",
    ),
    Flip(
        "entropy and KL of a joint ratio are means over dimensions",
        "learning/updater.py",
        'return values.sum(-1) if self.config.ratio == "joint"',
        'return values.mean(-1) if self.config.ratio == "joint"',
        f"{UPDATER}::test_entropy_and_kl_of_a_joint_ratio_are_sums_over_dimensions",
    ),
    Flip(
        "steps of the critic alone ignore value_coef",
        "learning/updater.py",
        "self._apply(self.config.update.value_coef * critic_loss, (self.critic,), tally)",
        "self._apply(critic_loss, (self.critic,), tally)",
        f"{UPDATER}::test_value_coef_weighs_the_critic_in_every_step",
    ),
    Flip(
        "steps of both ignore value_coef",
        "learning/updater.py",
        "scale * actor_loss + update.value_coef * critic_loss",
        "scale * actor_loss + critic_loss",
        f"{UPDATER}::test_value_coef_weighs_the_critic_in_every_step",
    ),
    Flip(
        "an advantage of 0 times an infinite coefficient is not 0",
        "core/objectives/base.py",
        "value, slope = value.masked_fill(nothing, 0.0), coefficient.masked_fill(nothing, 0.0)",
        "slope = coefficient",
        "tests/core/test_objectives.py::test_no_advantage_means_no_gradient_however_large_the_ratio",
    ),
    Flip(
        "the decoupled weight damps the side that the advantage does not favour",
        "core/objectives/proximal.py",
        "(samples.advantage.sign() * step)",
        "(-samples.advantage.sign() * step)",
        "tests/core/test_proximal.py::test_coefficients_worked_by_hand",
    ),
    Flip(
        "the decoupled step is from the behaviour policy",
        "core/objectives/proximal.py",
        "return samples.log_prob - samples.proximal_log_prob",
        "return samples.log_prob - samples.behaviour_log_prob",
        "tests/core/test_proximal.py::test_coefficients_worked_by_hand",
    ),
    Flip(
        "M2PO drops what the advantage drives back",
        "core/objectives/stale.py",
        "return advantage.sign() * log_ratio > 0",
        "return advantage.sign() * log_ratio < 0",
        "tests/core/test_stale.py::test_m2po_leaves_alone_what_the_advantage_drives_back_to_mu",
    ),
    Flip(
        "the learner stays at the proximal policy",
        "learning/proximal.py",
        "moved.copy_(kept)",
        "del kept",
        "tests/learning/test_proximal.py::test_it_is_the_learner_of_the_iterations_start_and_leaves_the_learner_alone",
    ),
    Flip(
        "PopArt moves the critic's values",
        "learning/normalizer.py",
        "add_(self.mean - mean)",
        "add_(mean - self.mean)",
        "tests/learning/test_normalizer.py::test_a_value_head_keeps_its_values_when_it_is_rescaled",
    ),
    Flip(
        "the standard error divides its interaction by k (k - 1)",
        "core/estimators.py",
        "/ (k * (k - 3))",
        "/ (k * (k - 1))",
        "tests/core/test_estimators.py::test_the_interaction_of_few_chunks_is_unbiased",
    ),
    Flip(
        "PPO's band is a quarter wide",
        "core/health.py",
        "PPO_BAND = 0.2",
        "PPO_BAND = 0.25",
        "tests/core/test_health.py::test_the_band_is_that_of_ppos_usual_clip",
    ),
    Flip(
        "the second bucket of lags ends at 4",
        "core/lags.py",
        '"1_3": (1, 3)',
        '"1_3": (1, 4)',
        "tests/core/test_health.py::test_every_lag_is_in_the_bucket_that_its_name_says",
    ),
    Flip(
        "the learning rate is that of the next iteration",
        "learning/learner.py",
        "math.ceil(self.steps / self.rollout_size) - 1",
        "math.ceil(self.steps / self.rollout_size)",
        f"{UPDATER}::test_iterations_count_from_zero_for_the_learning_rate",
    ),
    Flip(
        "gradients are not clipped",
        "learning/updater.py",
        "if self.config.update.max_grad_norm is not None:",
        "if False:",
        f"{UPDATER}::test_the_gradient_norm_is_clipped_over_all_that_a_step_moves",
    ),
    Flip(
        "every end of an episode is a termination",
        "learning/actor.py",
        "ended & ~truncated,",
        "ended,",
        "tests/learning/test_actor.py::test_ends_are_told_apart_and_have_their_own_final_observation",
    ),
    Flip(
        "the tail of an ended episode is the newest observation",
        "learning/actor.py",
        'info["terminal_observation"])',
        "obs[e])",
        "tests/learning/test_actor.py::test_ends_are_told_apart_and_have_their_own_final_observation",
    ),
    Flip(
        "a rollout is begun that may arrive one version too late",
        "actors/pacing.py",
        "return self.next_version + len(under_way) <=",
        "return self.next_version + len(under_way) - 1 <=",
        "tests/actors/test_pacing.py::test_by_hand_two_actors_and_a_bound_of_one",
    ),
    Flip(
        "a scheduled lag is one version short",
        "learning/source.py",
        "newest.version - lag,",
        "newest.version - lag + 1,",
        "tests/learning/test_source.py::test_every_rollout_is_of_the_policy_of_lag_versions_ago",
    ),
]


def run(copy: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests on a copy of the package."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    """Try every flip and say which ones nobody noticed; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="only flips whose mistake, file or test holds this text")
    wanted = parser.parse_args().k
    flips = [one for one in FLIPS if wanted in f"{one.mistake} {one.file} {one.test}"]
    unnoticed = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        clean = run(copy, sorted({one.test for one in flips}))
        if clean.returncode != 0:
            print(f"the tests fail without any mistake:\n{clean.stdout[-4000:]}")  # noqa: T201
            return 2
        for flip in flips:
            target = copy / "gipo_cli" / flip.file
            text, spoilt = target.read_text(), flip.spoilt(copy)
            target.write_text(spoilt)
            red = run(copy, [flip.test]).returncode == 1
            target.write_text(text)
            print(f"{'noticed ' if red else 'UNNOTICED'}  {flip.mistake}", flush=True)  # noqa: T201
            if not red:
                unnoticed.append(flip)
    print(f"{len(flips) - len(unnoticed)} of {len(flips)} mistakes noticed")  # noqa: T201
    return min(len(unnoticed), 1)


if __name__ == "__main__":
    sys.exit(main())

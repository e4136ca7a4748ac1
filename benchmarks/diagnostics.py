"""What the live probe costs at the authors' settings, as a share of the run it measures.

python -m benchmarks.diagnostics [--repeats 5]

Prints JSON: seconds of processor time of one iteration (collect and update) and of one measurement,
interleaved in one process on one thread, and the share that measuring every diagnostics.interval steps
takes of a run without evaluations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from importlib import metadata

import torch

from gipo_cli.agents.agent import GIPO
from gipo_cli.config.compose import compose
from gipo_cli.diagnostics.live import measure_buffer
from gipo_cli.envs.make import make_vec_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="such as diagnostics.probe_size=1024")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    torch.set_num_threads(1)
    config = compose(["preset=authors", "env.task=reach-v3", "diagnostics=live", *arguments.overrides]).config
    agent = GIPO.from_config(config, make_vec_env(config.env, config.seed), "cpu")
    agent.begin(config.total_steps)
    while len(agent.buffer) < 5000:
        agent.collect()
        agent.update()
    iterations, measurements = [], []
    for _ in range(repeats):
        begun = time.process_time()
        agent.collect()
        middle = time.process_time()
        measure_buffer(agent.policy, agent.buffer, config, agent.num_timesteps, agent.device)
        measured = time.process_time()
        agent.update()
        iterations.append(middle - begun + time.process_time() - measured)
        measurements.append(measured - middle)
    per_measurement = config.diagnostics.interval / config.rollout_size
    iteration, measurement = statistics.median(iterations), statistics.median(measurements)
    print(
        json.dumps(
            {
                "iteration_s": [round(x, 3) for x in sorted(iterations)],
                "measurement_s": [round(x, 3) for x in sorted(measurements)],
                "share": round(measurement / (per_measurement * iteration + measurement), 4),
                "versions": {name: metadata.version(name) for name in ("torch", "mujoco", "metaworld")},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()

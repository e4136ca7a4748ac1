"""How often a 95 % interval holds the truth, by number of seeds: a simulation with the shipped functions.

    python benchmarks/coverage.py [--trials 2000]

Three populations of final success rates stand for what runs look like: all alike (normal), many at the top
and a tail below (beta), and some runs that learn while others do not (bimodal). The truth of a population
is the statistic of a very large sample from it. For the interquartile mean of n runs the truth is the
expectation over samples of n, since it is the plain mean for three runs and another number for ten.
"""

import argparse
import platform
from collections.abc import Callable
from datetime import date

import numpy as np
import scipy

from gipo_cli.compare.aggregate import estimate, iqm, iqm_difference, probability_of_improvement

Population = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0.6, 0.1, shape)


def beta(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.beta(4, 1, shape)


def bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(
        rng.random(shape) < 0.6, rng.normal(0.85, 0.05, shape), rng.normal(0.25, 0.1, shape)
    ).clip(0, 1)


def coverage(population: Population, seeds: int, trials: int, strata: int = 1) -> dict[str, float]:
    rng = np.random.default_rng([seeds, strata])
    large = population(rng, (200_000, seeds * strata))
    truth = float(iqm(large).mean())
    held = {"IQM": 0, "P(better)": 0, "difference": 0}
    for _ in range(trials):
        ours, theirs = (list(population(rng, (strata, seeds))) for _ in range(2))
        apart = [False] * strata
        held["IQM"] += estimate(ours).includes(truth)
        held["P(better)"] += probability_of_improvement(ours, theirs, paired=apart).includes(0.5)
        held["difference"] += iqm_difference(ours, theirs, paired=apart).includes(0.0)
    return {name: count / trials for name, count in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    print(f"{date.today()}, {versions}, {trials} trials each, 95 % intervals\n")
    print("| population | environments | seeds | IQM | P(better) | IQM difference |")
    print("| --- | --: | --: | --: | --: | --: |")
    for population, strata in ((normal, 1), (beta, 1), (bimodal, 1), (bimodal, 5)):
        for seeds in (3, 5, 10):
            found = coverage(population, seeds, trials, strata)
            shares = " | ".join(f"{share:.0%}" for share in found.values())
            print(f"| {population.__name__} | {strata} | {seeds} | {shares} |", flush=True)


if __name__ == "__main__":
    main()

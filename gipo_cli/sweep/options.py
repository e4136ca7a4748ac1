"""How a sweep is run, and what of that cannot work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gipo_cli.errors import UserError
from gipo_cli.sweep.engine import Engine, LocalEngine
from gipo_cli.sweep.folder import StudyDir
from gipo_cli.sweep.plan import Study

ENGINES = ("local", "ray", "slurm")


@dataclass(frozen=True)
class Options:
    """The options of ``gipo sweep`` that say how it is run; None: as its help says."""

    engine: str = "local"
    jobs: int | None = None
    retry_failed: bool = False
    allow_changes: bool = False
    cpus: int = 1
    gpus: int = 0
    address: str | None = None
    slurm: Sequence[str] = field(default_factory=list)

    @property
    def here(self) -> bool:
        """Whether the runs share this machine's memory."""
        return self.engine == "local" or (self.engine == "ray" and self.address is None)

    def check(self) -> None:
        """Refuse what cannot work, before anything is planned or written.

        Raises:
            UserError: An option has no meaning, or the cluster or what it needs is not there.
        """
        if self.engine not in ENGINES:
            raise UserError(f"there is no backend {self.engine!r}; choose from: {', '.join(ENGINES)}")
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs {self.jobs} would run nothing; give a whole number from 1")
        if self.engine == "local" and (self.cpus, self.gpus) != (1, 0):
            raise UserError(
                "--cpus and --gpus are of a cluster; add --backend ray or slurm, or leave them out"
            )
        if self.address is not None and self.engine != "ray":
            raise UserError("--address is of a Ray cluster; add --backend ray, or leave it out")
        if self.slurm and self.engine != "slurm":
            raise UserError("--slurm is for SLURM jobs; add --backend slurm, or leave it out")
        if self.engine == "ray":
            from gipo_cli.sweep import on_ray

            on_ray.check(self.address)
        if self.engine == "slurm":
            from gipo_cli.sweep import on_slurm

            on_slurm.check(self.slurm)

    def start(self, folder: StudyDir, study: Study, jobs: int | None) -> Engine[Any]:
        """Make the engine, for so many runs at a time.

        Raises:
            UserError: The cluster cannot do these runs.
        """
        if self.engine == "ray":
            from gipo_cli.sweep.on_ray import RayEngine

            return RayEngine(folder, study, jobs, address=self.address, cpus=self.cpus, gpus=self.gpus)
        if self.engine == "slurm":
            from gipo_cli.sweep.on_slurm import SlurmEngine

            return SlurmEngine(folder, jobs, cpus=self.cpus, gpus=self.gpus, options=self.slurm)
        return LocalEngine(folder, jobs or 1)

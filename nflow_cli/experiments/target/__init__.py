"""A named 2-D density, fitted by reverse KL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from nflow_cli import memory
from nflow_cli.caveats import Caveat, ruined_fit
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.experiment import Identity, Measure, Rows, Summary
from nflow_cli.experiments.target import pictures, rows
from nflow_cli.run_dir import RunDirectory
from nflow_cli.schema import Fit2DConfig


class Target(DensityExperiment):
    """A fit to a density."""

    config: Fit2DConfig

    name = "target"
    measures = (
        Measure("kl", "KL", "nats", 5, judges=True),
        Measure("free_energy", "free energy", "nats", 5, judges=True),
        Measure("ess", "ESS", "", 3),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    shapes, columns, summary_form = pictures.SHAPES, pictures.COLUMNS, pictures.TargetSummary
    samples: ClassVar = (100, 10**7)

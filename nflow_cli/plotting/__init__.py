"""Pictures of runs: arrays in, matplotlib figures out, without pyplot or a display."""

from nflow_cli.plotting.matplotlib_start import import_matplotlib

import_matplotlib()
from nflow_cli.plotting.compare import (
    Curve,
    Density,
    Series,
    courses_figure,
    densities_figure,
    spread_figure,
)
from nflow_cli.plotting.images import images_figure, vae_figures
from nflow_cli.plotting.plane import animation_files, fit2d_figures, flow_figure, points_figures
from nflow_cli.plotting.predictions import Intervals, intervals_figure, levels_figure
from nflow_cli.plotting.style import save_figure
from nflow_cli.plotting.table import pit_figure, table_figures, whole_table_figures
from nflow_cli.plotting.training import likelihood_figure
from nflow_cli.plotting.weights import evidence_figures, infer_figures

__all__ = [
    "Curve",
    "Density",
    "Intervals",
    "Series",
    "animation_files",
    "courses_figure",
    "densities_figure",
    "evidence_figures",
    "fit2d_figures",
    "flow_figure",
    "images_figure",
    "infer_figures",
    "intervals_figure",
    "levels_figure",
    "likelihood_figure",
    "pit_figure",
    "points_figures",
    "save_figure",
    "spread_figure",
    "table_figures",
    "vae_figures",
    "whole_table_figures",
]

"""Pictures of runs: arrays in, matplotlib figures out, without pyplot or a display."""

from nflow_cli.plotting.matplotlib_start import import_matplotlib

import_matplotlib()

"""Pictures of tables."""

from nflow_cli.plotting.matplotlib_start import import_matplotlib

import_matplotlib()

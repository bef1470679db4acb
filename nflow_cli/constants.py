"""Constants that several modules share."""

import math

__version__ = "0.3.0.dev0"
LOG_2PI = math.log(2 * math.pi)
RUN = "run.json"  # of a run directory
SWEEP = "sweep.yaml"  # of that of a sweep
LARGEST_CELL = 1e150  # of a number; of tables 1e100; pictures of larger numbers overflow
FAR = 1e15  # beyond it float32 squares overflow, and every density here is 0
DPI = 150  # dots an inch of a picture
MAX_GRID = 1_000  # more than a panel has pixels

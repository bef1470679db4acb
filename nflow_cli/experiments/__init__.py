"""Kinds of runs: a named density, a log-density, a table or images is trained and judged."""

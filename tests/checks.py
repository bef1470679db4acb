"""What `check` finds in a run, and edits of its files."""

import numpy as np
import yaml
from short_runs import edit_json

from nflow_cli.experiments.comparison import Outcome
from nflow_cli.experiments.run_checks import check_run
from nflow_cli.runs.directory import RunDirectory


def outcomes(run):
    """Return what each check of a run ends in, by its name."""
    return {finding.name: finding.outcome for finding in check_run(str(run))}


def failures(run):
    """Return what the checks that fail say, each in one line, by their names."""
    found = [finding for finding in check_run(str(run)) if finding.outcome == Outcome.FAIL]
    assert all(len(finding.detail.splitlines()) == 1 for finding in found)
    return {finding.name: finding.detail for finding in found}


def finding_of(run, name):
    """Return what the check of this name finds; later ones are not run."""
    return next(finding for finding in check_run(str(run)) if finding.name == name)


def seal(run):
    """Record the files as they are now, as who edits them with care would."""
    edit_json(run / "run.json", files=RunDirectory(run).checksums())


def edit_config(run, change):
    data = yaml.safe_load((run / "config.yaml").read_text())
    change(data)
    (run / "config.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def edit_arrays(path, change):
    with np.load(path) as file:
        arrays = {name: array.copy() for name, array in file.items()}
    change(arrays)
    np.savez(path, **arrays)

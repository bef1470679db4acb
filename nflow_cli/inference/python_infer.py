"""``nflow_cli.infer``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config import presets
from nflow_cli.config.presets import Change
from nflow_cli.deadline import Deadline
from nflow_cli.experiments.python_arguments import (
    changes_of,
    expect_one_length,
    python_words,
    settings_of,
)
from nflow_cli.experiments.running import start
from nflow_cli.inference.infer_config import natural_preset, usual_dim
from nflow_cli.inference.reverse_kl_data import built_in
from nflow_cli.inference.trial import user_subject
from nflow_cli.inference.user_code import UserFunction, function_of
from nflow_cli.registry import DENSITIES


@python_words()
def infer(
    log_density: Any,
    preset: str | None,
    settings: Mapping[str, Any] | None,
    output: str | Path | None,
    options: Mapping[str, Any],
    deadline: Deadline | None = None,
) -> Any:
    """Fit flows to a log-density: see :func:`nflow_cli.infer`."""
    user, density = _user_and_density(log_density)
    if user is not None:
        user.expect_free(options)
    changes = [
        Change("density", "density", density),
        *changes_of("infer", options),
        *settings_of(settings),
    ]
    expect_one_length(deadline, changes)
    dim = options.get("dim") or density.get("dim") or usual_dim(density["name"])
    path = presets.find_preset(preset or natural_preset(dim))
    config = presets.merged("infer", path, changes)
    subject = built_in(config) if user is None else user_subject(config, user)
    return start(config, path, output, subject, deadline=deadline).trained


def _user_and_density(log_density: Any) -> tuple[UserFunction | None, dict[str, Any]]:
    """User's function, ``None`` of a built-in density, and its entries of a config."""
    if isinstance(log_density, str) and log_density in DENSITIES:
        return None, {"name": log_density}
    user = function_of(log_density)
    return user, user.density

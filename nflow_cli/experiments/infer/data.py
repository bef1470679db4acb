"""Log-density of a run of ``nflow infer``: built in, or a user's function.

Its file is executed only when named on the command line.
"""

from dataclasses import dataclass
from typing import Any

from nflow_cli.backend.start import start_keras

start_keras()  # before any module imports Keras: silences native code

from nflow_cli.config.infer_schema import IN_PYTHON, InferConfig
from nflow_cli.densities.log_density import units_of
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.infer.trial import density_of, expect_compiled, rounding_notes
from nflow_cli.experiments.infer.user_code import UserFunction, load_function
from nflow_cli.experiments.run import Run
from nflow_cli.registry import DENSITIES, resolve


@dataclass(frozen=True)
class Subject:
    """Log-density to fit, in the coordinates of the flows, and its name.

    ``path`` and ``sha256`` are of a user's file; ``notes`` are one line each.
    """

    target: Any
    name: str
    path: str | None = None
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Entry of ``run.json``."""
        return {"name": self.name, "path": self.path, "sha256": self.sha256}


def built_in(config: InferConfig) -> Subject:
    """Built-in density of a config."""
    density = config.density
    return Subject(resolve(DENSITIES[density.name])(dim=config.dim), density.name)


def user_subject(config: InferConfig, user: UserFunction) -> Subject:
    """Try a user's function or model and return it."""
    names = config.density.columns
    if user.coordinates and (names, config.density.bounds) != user.coordinates:
        raise ConfigError(
            f"{user.name}: expected the names and bounds of the run. Received: others; the model's "
            "data may have changed"
        )
    target = density_of(user, names, units_of(names, config.density.bounds))
    expect_compiled(target, config.train.compile)
    return Subject(target, user.name, user.path, user.sha256, rounding_notes(target))


def subject_again(config: InferConfig, place: str) -> Subject:
    """Load the user's function of a run again; its file must be unchanged."""
    density = config.density
    if density.is_built_in:
        raise ConfigError(f"--density: expected none: the run is of the built-in {density.name}")
    user = load_function(place, density.name, density.sha256)
    if density.sha256 is not None and user.name != density.name:
        raise ConfigError(
            f"--density: expected {density.name}, as in the run. Received: {user.name}"
        )
    return user_subject(config, user)


def load(config: InferConfig) -> Subject:
    """Built-in density; a user's is never executed from a config."""
    if config.density.is_built_in:
        return built_in(config)
    raise ConfigError(
        f"density: a function {_where(config)}, never executed from a preset; name it: "
        f"nflow infer FILE.py:{config.density.name}"
    )


def again(run: Run) -> Subject:
    """Built-in density of a run; a user's is never executed from a config."""
    config = run.config
    if config.density.is_built_in:
        return built_in(config)
    name = config.density.name
    raise ConfigError(
        f"{run.path}: fitted to {name} {_where(config)}, never executed from a run directory; "
        f"name it: --density FILE.py:{name}"
    )


def _where(config: InferConfig) -> str:
    path = config.density.path
    return "of Python" if path == IN_PYTHON else f"of {path}"


def read(name: str) -> Any:
    """Refuse ``--data``: a density is judged by draws."""
    raise ConfigError("--data: expected none: a run of `nflow infer` is scored by its draws")


def settled(config: InferConfig, data: Subject) -> InferConfig:
    """Config as it is."""
    return config


def expect_fits(config: InferConfig, data: Subject) -> None:
    """Accept all."""

"""Schema of a flow stack: the flows, their options and numbers of weights, useful threads."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationError

from nflow_cli.config.schema_options import PATTERN
from nflow_cli.config.strict import Strict, option
from nflow_cli.errors import ConfigError
from nflow_cli.registry import FLOWS, flow_hint, nearest

MAX_WEIGHTS = 10**8
Way = Literal["forward", "inverse"]
Name: Any = Literal[tuple(FLOWS)]
MIN_SHARED = 6_000_000  # weights of a map × rows of an update: fewer run on one thread


def checked_item(item: Any) -> str | dict[str, Any]:
    """Item of a pattern, checked: a name, or a mapping of it to options; else a ``ValueError``."""
    name: Any = next(iter(item)) if isinstance(item, Mapping) and len(item) == 1 else item
    if not isinstance(name, str) or name not in FLOWS:
        hint = flow_hint(name) if isinstance(name, str) else ""
        raise ValueError(f"one of {', '.join(FLOWS)}{hint}")
    if isinstance(item, str):
        return item
    options = {} if item[name] is None else item[name]
    _check_options(name, options)
    return {name: dict(options)} if options else name


Item = Annotated[
    str | dict[str, JsonValue],
    BeforeValidator(
        checked_item, json_schema_input_type=Name | dict[Name, dict[str, JsonValue] | None]
    ),
]
SPELLED_OUT = "in a preset also with options, `{name: {option: value}}`."
Pattern = Annotated[
    list[Item],
    Field(
        min_length=1,
        **option(
            f"Flows such as planar,radial, cycled until there are k; {SPELLED_OUT}",
            "--flow",
            form=PATTERN,
        ),
    ),
]
K = Annotated[int, Field(ge=0, le=10_000, **option("Number of flows."))]
LastMap = Annotated[
    Literal["diagonal", "full"] | None,
    Field(
        description="One affine map at the data's end, outside k. Where the key is left out: full "
        "with couplings or masked maps in the pattern, else null."
    ),
]
# Flows of D passes, by direction, each with one of a single pass there.
IN_TURN: Mapping[str, Mapping[str, str]] = {
    "forward": dict.fromkeys(
        ["affine-autoregressive", "spline-autoregressive", "mixture-autoregressive"],
        "inverse-autoregressive",
    ),
    "inverse": {"inverse-autoregressive": "affine-autoregressive"},
}


class Flow(Strict):
    """The flows, by name or with options, and their number."""

    pattern: Pattern = Field(default=["planar"])
    k: K = 8

    @property
    def text(self) -> str:
        """The flows as text: ``planar,radial``."""
        return pattern_text(self.pattern)

    def weights(self, dim: int, width: int = 0) -> int:
        """Approximate number of weights, given a context of ``width`` numbers."""
        counts = [options_of(item).weights(dim, pattern_name(item)) for item in self.pattern]
        return (self.k or 0) * sum(n + width * m for n, m in counts) // len(counts)


class StackFlow(Flow):
    """The flows of a density: ``k``, and an optional affine map at the data's end."""

    affine: LastMap = Field(default_factory=lambda data: default_affine(data.get("pattern", [])))

    @property
    def text(self) -> str:
        """The flows as text: ``planar + full affine``."""
        return f"{super().text} + {self.affine} affine" if self.affine else super().text


def expect_weights(flow: Flow, dim: int, width: int = 0) -> None:
    """Refuse flows with too many weights, of D numbers given ``width`` others."""
    count = flow.weights(dim, width)
    if count > MAX_WEIGHTS:
        raise ValueError(f"at most {MAX_WEIGHTS:,} weights in all, not about {count:,}")


def expect_one_pass(flow: Flow, way: Way) -> None:
    """Refuse flows that take D passes in the direction of training."""
    for name in map(pattern_name, flow.pattern):
        replacement = IN_TURN[way].get(name)
        if replacement:
            raise ValueError(
                f"{replacement} in place of {name}, which takes D passes in the {way} direction, "
                "that of training"
            )


class Options(Strict):
    """Options of a flow without any."""

    def weights(self, dim: int, flow: str) -> tuple[int, int]:
        """Approximate numbers of weights, and of those that depend on a context."""
        return 2 * dim + 1, 2 * dim + 1


class AffineOptions(Options):
    """Options of ``affine``: a lower triangular matrix, or a diagonal one."""

    full: bool = False

    def weights(self, dim: int, flow: str) -> tuple[int, int]:
        count = dim * (dim + 3) // 2 if self.full else 2 * dim
        return count, count


class NetworkOptions(Options):
    """Options of a map with a network: the widths of its hidden layers; ``None``: by D."""

    hidden: list[Annotated[int, Field(ge=1, le=10_000)]] | None = Field(default=None, min_length=1)

    @property
    def outputs(self) -> int:
        """Parameters of each transformed coordinate."""
        return 2

    def weights(self, dim: int, flow: str) -> tuple[int, int]:
        widths_of = coupling_widths if flow.endswith("-coupling") else masked_widths
        widths = widths_of(self.hidden, self.outputs, dim)
        return sum((a + 1) * b for a, b in pairwise(widths)), widths[1]


class SplineOptions(NetworkOptions):
    """Options of a spline: bins, the bound of its interval, the least width, height and slope."""

    bins: int = Field(default=8, ge=2, le=64)
    bound: float = Field(default=5.0, gt=0, le=1e6)
    least: float = Field(default=1e-3, ge=1e-6, le=1e-2)

    @property
    def outputs(self) -> int:
        return 3 * self.bins - 1


class MixtureOptions(NetworkOptions):
    """Options of a mixture: components, and the least scale."""

    components: int = Field(default=8, ge=2, le=64)
    least: float = Field(default=1e-3, ge=1e-6, le=1e-1)

    @property
    def outputs(self) -> int:
        return 3 * (self.components - 1)


class SylvesterOptions(Options):
    """Options of ``sylvester``: hidden units and Householder reflections; ``None``: by D."""

    width: int | None = Field(default=None, ge=1, le=10_000)
    reflections: int | None = Field(default=None, ge=1, le=1_000)

    def weights(self, dim: int, flow: str) -> tuple[int, int]:
        width, reflections = sylvester_sizes(self.width, self.reflections, dim)
        count = reflections * dim + width * (width + 2)
        return count, count


# By flow.
OPTIONS: Mapping[str, type[Options]] = {
    "affine": AffineOptions,
    "affine-coupling": NetworkOptions,
    "spline-coupling": SplineOptions,
    "mixture-coupling": MixtureOptions,
    "affine-autoregressive": NetworkOptions,
    "spline-autoregressive": SplineOptions,
    "mixture-autoregressive": MixtureOptions,
    "inverse-autoregressive": NetworkOptions,
    "sylvester": SylvesterOptions,
}


def coupling_widths(hidden: Sequence[int] | None, outputs: int, dim: int) -> list[int]:
    """Widths of a coupling's network, with ``dim // 2`` inputs and all outputs.

    Hidden layers are by default 64, 64 up to D = 8, else 128, 128.
    """
    return [dim // 2, *_hidden(hidden, dim), outputs * (dim - dim // 2)]


def masked_widths(hidden: Sequence[int] | None, outputs: int, dim: int) -> list[int]:
    """Widths of an autoregressive map's network: see :func:`coupling_widths`."""
    return [dim - 1, *_hidden(hidden, dim), outputs * dim]


def _hidden(hidden: Sequence[int] | None, dim: int) -> Sequence[int]:
    """Widths of hidden layers, by default by the dimension."""
    if hidden:
        return hidden
    return (64, 64) if dim <= 8 else (128, 128)


def sylvester_sizes(width: int | None, reflections: int | None, dim: int) -> tuple[int, int]:
    """M and the number of reflections; by default M = min(D, 16), and M reflections, which reach
    any M directions.
    """
    width = min(width or 16, dim)
    return width, reflections or width


def options_of(item: str | Mapping[str, Any]) -> Options:
    """Options of an item's flow, with defaults."""
    name = pattern_name(item)
    values = {} if isinstance(item, str) else item[name]
    return OPTIONS.get(name, Options).model_validate(values)


def has_network(pattern: Sequence[str | Mapping[str, Any]]) -> bool:
    """Whether a pattern has a network."""
    return any(isinstance(options_of(item), NetworkOptions) for item in pattern)


def default_affine(
    pattern: Sequence[str | Mapping[str, Any]],
) -> Literal["full"] | None:
    """Affine map at the data's end of a stack: a full one after flows with networks.

    Splines map a box onto itself: only an affine map moves mass out of it.
    """
    return "full" if has_network(pattern) else None


def pattern_name(item: str | Mapping[str, Any]) -> str:
    """Name of an item's flow."""
    return item if isinstance(item, str) else next(iter(item))


def pattern_text(pattern: Sequence[str | Mapping[str, Any]]) -> str:
    """Pattern as text, such as ``planar,affine(full=True)``."""
    return ",".join(map(_item_text, pattern))


def _item_text(item: str | Mapping[str, Any]) -> str:
    if isinstance(item, str):
        return item
    name = pattern_name(item)
    options = ", ".join(f"{key}={value}" for key, value in item[name].items())
    return f"{name}({options})" if options else name


def _check_options(name: str, options: Any) -> None:
    schema = OPTIONS.get(name, Options)
    known = list(schema.model_fields)
    if not isinstance(options, Mapping):
        raise ValueError(f"options of {name} by name")
    try:
        schema.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if key in known:
            expected = first["msg"].removeprefix("Input should be ")
            raise ValueError(f"{expected} as {key} of {name}") from None
        options_known = f"no options of {name}"
        if known:
            options_known = f"of the options of {name} only {', '.join(known)}{nearest(key, known)}"
        raise ValueError(options_known) from None


def checked_pattern(pattern: Any) -> list[str | dict[str, Any]]:
    """Pattern as a list of checked items."""
    if not isinstance(pattern, Sequence) or isinstance(pattern, str) or not len(pattern):
        raise ConfigError(
            f'expected a list of one or more flows, such as ["planar"]. Received: {pattern=!r:.60}'
        )
    try:
        return [checked_item(item) for item in pattern]
    except ValueError as error:
        raise ConfigError(
            f"unknown flow or option: expected {error}. Received: {pattern=!r:.60}"
        ) from None


def gained_by(flow: Flow, dim: int, rows: int) -> int | None:
    """Fastest number of threads to train flows on ``rows`` points ``(D,)``.

    One if the operations of an update are too small to share; else ``None``: one per core.
    """
    of_a_map = flow.weights(dim) / max(flow.k, 1)
    return 1 if of_a_map * rows < MIN_SHARED else None

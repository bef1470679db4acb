"""Schema of a flow stack."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue

from nflow_cli.config.flow_options import (
    IN_TURN,
    checked_item,
    default_affine,
    options_of,
    pattern_name,
    pattern_text,
)
from nflow_cli.config.forms import PATTERN
from nflow_cli.config.strict import Strict, option
from nflow_cli.registry import FLOWS

MAX_WEIGHTS = 10**8
Way = Literal["forward", "inverse"]
Name: Any = Literal[tuple(FLOWS)]
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
        counts = [options_of(item).weights(dim) for item in self.pattern]
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
    if (count := flow.weights(dim, width)) > MAX_WEIGHTS:
        raise ValueError(f"at most {MAX_WEIGHTS:,} weights in all, not about {count:,}")


def expect_one_pass(flow: Flow, way: Way) -> None:
    """Refuse flows that take D passes in the direction of training."""
    for name in map(pattern_name, flow.pattern):
        if instead := IN_TURN[way].get(name):
            raise ValueError(
                f"{instead} in place of {name}, which takes D passes in the {way} direction, that "
                "of training"
            )

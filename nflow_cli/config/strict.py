"""What every part of a schema shares. No Keras here."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**32 - 1
MAX_PATH = 4_096  # letters

# Keys that every preset, or every one of a run, has.
COMMAND = Field(description="Whose preset it is.")
Description = Annotated[str, Field(description="One line about it, which `nflow presets` prints.")]
Seed = Annotated[
    int, Field(ge=0, le=MAX_SEED, description="The same seed gives the same run, bit for bit.")
]


class Strict(BaseModel):
    """Nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def by_name(value: Any) -> Any:
    """Write out what is given by its name alone."""
    return {"name": value} if isinstance(value, str) else value

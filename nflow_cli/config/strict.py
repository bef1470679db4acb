"""What every part of a schema shares. No Keras here."""

from typing import Any

from pydantic import BaseModel, ConfigDict

MAX_SEED = 2**32 - 1
MAX_PATH = 4_096  # letters


class Strict(BaseModel):
    """Nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def by_name(value: Any) -> Any:
    """Write out what is given by its name alone."""
    return {"name": value} if isinstance(value, str) else value

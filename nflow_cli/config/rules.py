"""Schema of rules between two columns that hold in every row."""

from typing import Annotated, Literal

from pydantic import Field

from nflow_cli.config.strict import Column, Strict

Form = Literal["order", "zero", "gap"]
MAX_RULES = 2_000  # of a table, implied ones included


class Rule(Strict):
    """A rule between two columns that no training row breaks.

    `order`: first <= second. `zero`: where the first is 0, the second is. `gap`: both are missing,
    or neither is.
    """

    rule: Form = Field(description="The form of the rule.")
    columns: Annotated[list[Column], Field(min_length=2, max_length=2)] = Field(
        description="The first and the second column."
    )
    rows: int = Field(ge=0, le=10**7, description="Training rows in which it may be broken.")
    breaks: int = Field(default=0, ge=0, le=10**7, description="Validation rows that break it.")
    is_implied: bool = Field(default=False, description="Whether it follows from other rules.")

    @property
    def text(self) -> str:
        """The rule as text: ``entry <= exit``."""
        first, second = self.columns
        if self.rule == "order":
            return f"{first} <= {second}"
        if self.rule == "zero":
            return f"{second} = 0 where {first} = 0"
        return f"{second} missing where {first} is, and only there"

    @property
    def break_rate(self) -> float:
        """Probability that a cell is drawn without regard to the rule."""
        return (1 + self.breaks) / (self.rows + 2)

"""Schema of rules between two columns that hold in every row, and rules as text."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from nflow_cli.config.strict import Column, Strict

Form = Literal["order", "zero", "gap"]
MAX_RULES = 2_000  # of a table, implied ones included
MAX_DECLARED = 100
MAX_TEXT = 2_500  # letters of a rule
EXPECTED_TEXT = "'a <= b', 'b = 0 where a = 0' or 'b missing where a is'"
# Of the columns a and b.
_PATTERNS: dict[Form, re.Pattern[str]] = {
    "zero": re.compile(r"(?P<b>.+?)\s*=\s*0\s+where\s+(?P<a>.+?)\s*=\s*0"),
    "gap": re.compile(r"(?P<b>.+?)\s+missing\s+where\s+(?P<a>.+?)\s+is(, and only there)?"),
    "order": re.compile(r"(?P<a>.+?)\s*<=\s*(?P<b>.+)"),
}


class Rule(Strict):
    """A rule between two columns that no training row breaks, or one that is declared.

    `order`: first <= second. `zero`: where the first is 0, the second is. `gap`: both are missing,
    or neither is.
    """

    rule: Form = Field(description="The form of the rule.")
    columns: Annotated[list[Column], Field(min_length=2, max_length=2)] = Field(
        description="The first and the second column."
    )
    rows: int = Field(ge=0, le=10**7, description="Training rows in which it may be broken.")
    breaks: int = Field(
        default=0,
        ge=0,
        le=10**7,
        description="Validation rows that break it; of a declared one also training rows.",
    )
    is_declared: bool = Field(default=False, description="Whether it is declared, not found.")
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


def parsed_rule(text: str) -> tuple[Form, str, str] | None:
    """Form of a rule written as text, and its first and second column; ``None`` if it is none."""
    for form, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(text.strip()):
            return form, match["a"], match["b"]
    return None


def plain_rules(rules: Sequence[Rule]) -> list[Rule]:
    """Rules without implied ones."""
    return [rule for rule in rules if not rule.is_implied]

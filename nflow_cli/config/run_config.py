"""Base of the configs of all kinds of runs, and the cost of their training."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nflow_cli.config.strict import COMMAND, Description, Seed, Strict


class RunConfig(Strict):
    """The config of a run of any kind.

    Attributes:
        kind: Folder of its parts in :mod:`nflow_cli.experiments`.
        is_of_flows: Whether its model is of flows, on TensorFlow; else of cells, on NumPy.
        subject_key: Key of the data or density that is fitted.
    """

    kind: ClassVar[str]
    is_of_flows: ClassVar[bool] = True
    subject_key: ClassVar[str] = "data"

    description: Description = ""
    command: Annotated[str, COMMAND]
    seed: Seed = 0
    if TYPE_CHECKING:  # each kind has its own, in its own place
        train: Any
        flow: Any
        prior: Any
        dim: Any

    @property
    def subject(self) -> str:
        """Name of the data or density."""
        return getattr(self, self.subject_key).name

    @property
    def length(self) -> int:
        """Number of updates, or epochs; 0 before it is known."""
        return getattr(self.train, self.train.length_key) or 0

    def of_length(self, length: int) -> Any:
        """With another number of updates, or epochs; the description may name the old one."""
        train = self.train.model_copy(update={self.train.length_key: length})
        return self.model_copy(update={"train": train, "description": ""})

    @property
    def model_text(self) -> str:
        """Model as text."""
        return self.flow.text

    @property
    def k(self) -> int:
        """Number of maps; 0 before it is known."""
        return self.flow.k or 0

    @property
    def drawn(self) -> int:
        """Numbers drawn for an update, here points; 0 if unknown."""
        return self.train.batch_size * self.train.restarts * self.dim

    @property
    def resume_arguments(self) -> list[str]:
        """Arguments of ``nflow resume`` beside the run."""
        return []

    def settled_like(self, written: Any) -> Any:
        """With what another config of the class resolved by its data."""
        return self

    @property
    def threads(self) -> int | None:
        """Useful number of CPU threads; ``None``: one per core."""
        return None

    @property
    def work(self) -> float:
        """Estimated duration, in units that only runs of one kind share."""
        of_prior = self.prior.k if self.prior else 0
        return self.length * (8 + self.k + of_prior) * self.train.restarts

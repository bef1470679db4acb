"""How a training that stops ends: its learning rate falls to 0."""

from nflow_cli.training.observer import Observer
from nflow_cli.training.trainer import Clock


class Cooling(Observer):
    """Observer that may stop a training, which then cools down.

    Attributes:
        stopped_at: Update from which it cools down; ``None``: it trains.
    """

    clock: Clock
    stopped_at: int | None = None

    def cool_down_after(self, updates: int) -> int:
        """Updates in which the rate falls, after those before."""
        raise NotImplementedError

    def begin(self) -> None:
        self.cool_from(self.stopped_at)

    def cool_from(self, update: int | None) -> None:
        """Cool down from ``update`` on; ``None``: train."""
        self.stopped_at = update
        if self.model.cooled:
            self.model.cooled.cool(update, self.cool_down_after(update or 0))

    def end_when_cool(self) -> None:
        """End the training if the rate is 0."""
        at = self.stopped_at
        if at is not None and self.clock.updates[-1] >= at + self.cool_down_after(at):
            self.model.stop_training = True

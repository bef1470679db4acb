"""Trial of flows on a table: what their updates and scores cost in seconds."""

from nflow_cli.config.table import FitConfig
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.tables import flows_scoring
from nflow_cli.tables.flows_training import batches_of, build, validator
from nflow_cli.tables.table_scoring import judged
from nflow_cli.training.budget import Cost, pace, seconds_of

TRIAL_ROWS = 50_000  # of the training rows, at most


def trial(config: FitConfig, data: Dataset) -> Cost:
    """Time the updates and the scores of a model, of a large table on some of its rows."""
    n = len(data.train)
    few = data.thinned(TRIAL_ROWS)
    share = n / len(few.train)
    model = build(config, few)
    scoring = share * seconds_of(lambda: judged(flows_scoring, config, model.density, few))
    update, compiling = pace(model, batches_of(model, few, config.train, config.seed))
    validate = validator(model, few)
    validate()  # compiles
    validating_an_update = share * seconds_of(validate) / (config.train.chunk or 1)
    beside_updates = compiling + scoring
    update += validating_an_update
    return Cost(update, beside_updates, n, validating_an_update / n, scoring / n)

import math
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from loops import NOISE, UPDATES, Bend, Slices, fit, logger, settings
from truth import to_numpy

from nflow_cli.training.observers import Clock
from nflow_cli.training.trainer import ChunkTrainer, best_restart, learning_rate


def plain_loop(model, train, noise=NOISE):
    """Train one update at a time, nothing compiled or clipped; return terms and gradient norms."""
    import tensorflow as tf

    optimizer, history = keras.optimizers.Adam(learning_rate(train, train.steps)), []
    for update, batch in enumerate(noise):
        with tf.GradientTape() as tape:
            terms = model.objective(ops.convert_to_tensor(batch), update)
        gradients = tape.gradient(terms["loss"], [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        norm = np.sqrt(sum(np.sum(to_numpy(g) ** 2) for g in gradients))
        history.append({name: float(value) for name, value in terms.items()} | {"norm": norm})
    return history


def weights_of(model):
    return np.concatenate([to_numpy(v.value).ravel() for v in model.trainable_variables])


@pytest.fixture(scope="module")
def plain():
    model = Bend(10)
    return plain_loop(model, settings()), weights_of(model)


@pytest.fixture(scope="module")
def chunked():
    """Return the run in chunks of 5, the last of them cut short."""
    model = Bend(10)
    rows, clock = fit(model, 5, settings(chunk=5))
    return rows, clock, weights_of(model)


@pytest.mark.parametrize("before", [0, 2, 9])
def test_chunks_are_drawn_in_order_and_as_many_ahead_as_asked_for(before):
    chunks, begun = Slices(NOISE, 5), threading.active_count()
    chunks.ahead = before
    for index, (chunk, count) in enumerate(chunks):
        np.testing.assert_array_equal(chunk, chunks[index][0])
        np.testing.assert_array_equal(count, chunks[index][1])
    assert index == len(chunks) - 1
    assert threading.active_count() == begun


@pytest.mark.parametrize("chunk", [1, 5, 40, pytest.param(5, marks=pytest.mark.xla)])
def test_chunks_make_the_updates_of_a_plain_loop_whatever_their_layout(chunk, plain):
    model = Bend(10)
    rows, clock = fit(model, chunk, settings(chunk=chunk))
    np.testing.assert_allclose(weights_of(model), plain[1], 1e-5)
    assert clock.updates[-1] == UPDATES
    assert len(rows) == math.ceil(UPDATES / chunk)


def test_a_chunk_that_is_cut_short_is_the_program_of_the_others():
    import tensorflow as tf

    model = Bend(10)
    model.prepare(settings(), UPDATES)
    program = tf.function(model.train_step, jit_compile=True, autograph=False)
    counts = [np.array([count], np.int32) for count in (5, 3)]
    chunk = ops.convert_to_tensor(NOISE[:5])
    lowered = [
        program.experimental_get_compiler_ir((chunk, ops.convert_to_tensor(count)))(stage="hlo")
        for count in counts
    ]
    assert lowered[0] == lowered[1]


def test_rows_hold_the_means_over_their_chunks_and_the_norm_and_rate_at_their_ends(plain, chunked):
    rows, clock, _ = chunked
    assert clock.updates == [0, 5, 10, 15, 20, 23]  # steps that are no multiple of the chunk
    assert [row["update"] for row in rows] == [5, 10, 15, 20, 23]
    for start, row in zip(range(0, UPDATES, 5), rows, strict=True):
        for name in ("loss", "kl", "beta"):
            expected = np.mean([terms[name] for terms in plain[0][start : start + 5]])
            assert row[name] == pytest.approx(expected, rel=1e-5)
        norm = plain[0][row["update"] - 1]["norm"]
        assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)
        rate = 0.05 * (1 + np.cos(np.pi * row["update"] / UPDATES)) / 2
        assert row["learning_rate"] == pytest.approx(rate, abs=1e-8)
    # 10 updates of annealing: beta is 1 in every update of the third chunk.
    assert [row["beta"] == 1 for row in rows] == [False, False, True, True, True]


def test_rows_of_many_chunks_hold_the_means_over_their_updates(plain):
    # Chunks of 4 and a last one of 3: rows of 8, 8 and 7 updates.
    rows, clock = fit(Bend(10), 4, settings(chunk=4), chunks_per_row=2)
    assert [row["update"] for row in rows] == [8, 16, 23]
    assert clock.updates == [0, 4, 8, 12, 16, 20, 23]
    for start, row in zip(range(0, UPDATES, 8), rows, strict=True):
        for name in ("loss", "kl", "beta"):
            expected = np.mean([terms[name] for terms in plain[0][start : start + 8]])
            assert row[name] == pytest.approx(expected, rel=1e-5)
        norm = plain[0][row["update"] - 1]["norm"]
        assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_a_constant_rate_stays():
    rows, _ = fit(Bend(), 10, settings(schedule="constant"))
    assert {row["learning_rate"] for row in rows} == {float(np.float32(0.05))}


def test_the_same_noise_gives_the_same_bits_and_other_noise_other_weights(chunked):
    model, other = Bend(10), Bend(10)
    rows, _ = fit(model, 5, settings(chunk=5))
    np.testing.assert_array_equal(weights_of(model), chunked[2])
    for row, before in zip(rows, chunked[0], strict=True):
        for name in row:
            assert "second" in name or row[name] == before[name]
    fit(other, 5, settings(chunk=5), noise=NOISE[::-1])
    assert np.all(weights_of(other) != chunked[2])


def given_to_adam(model):
    """Return the gradients of the only update made: Adam's first moments are a part of them."""
    moments = [v for v in model.optimizer.variables if "momentum" in v.path]
    return [to_numpy(v.value) / (1 - model.optimizer.beta_1) for v in moments]


class Slope(Bend):
    """Its gradient is (3, 4), of norm 5."""

    def objective(self, batch, update):
        loss = 3 * self.bend[0] + 4 * self.bend[1] + 0 * ops.mean(batch)
        return {"loss": loss, "kl": loss, "beta": ops.ones(())}


@pytest.mark.parametrize("clip_norm", [None, 0.5, 10.0])
def test_gradients_are_clipped_to_the_norm_asked_for(clip_norm):
    model = Slope()
    rows, _ = fit(model, 1, settings(clip_norm=clip_norm, steps=1), noise=NOISE[:1])
    scale = 1.0 if clip_norm is None else min(1.0, clip_norm / 5)
    np.testing.assert_allclose(given_to_adam(model)[0], np.array([3.0, 4.0]) * scale, 1e-5)
    assert rows[0]["gradient_norm"] == pytest.approx(5.0, rel=1e-6)


class Slopes(ChunkTrainer):
    """Three restarts: gradients (3, 4, 12), (0, 0, 0) and (30, 40, 120), in two weights."""

    terms = ("loss", "kl", "beta")
    restarts = (3,)
    gradients = (np.array([[3.0, 4], [0, 0], [30, 40]]), np.array([[[12.0]], [[0]], [[120]]]))

    def __init__(self, offsets=(0.0, 0.0, 0.0)):
        super().__init__()
        self.offsets = np.array(offsets, "float32")
        shapes = [np.shape(g) for g in self.gradients]
        self.both = [self.add_weight(shape=shape, initializer="zeros") for shape in shapes]
        self.built = True

    def objective(self, batch, update):
        one, other = (w * g.astype("float32") for w, g in zip(self.both, self.gradients))
        loss = ops.sum(one, 1) + ops.sum(other, (1, 2)) + self.offsets + 0 * ops.mean(batch)
        return {"loss": loss, "kl": 2 * loss, "beta": ops.ones(())}


def test_every_restart_is_clipped_by_its_own_norm_and_rows_are_of_the_lowest_loss():
    model = Slopes()
    fit(model, 1, settings(clip_norm=26.0, steps=1), noise=NOISE[:1])
    scales = np.array([1.0, 1.0, 26 / 130])
    given = given_to_adam(model)
    np.testing.assert_allclose(given[0], model.gradients[0] * scales[:, None], 1e-5)
    np.testing.assert_allclose(given[1], model.gradients[1] * scales[:, None, None], 1e-5)
    rows, _ = fit(Slopes((2, 5, 3)), 1, settings(steps=1), noise=NOISE[:1])
    assert (rows[0]["loss"], rows[0]["kl"], rows[0]["beta"]) == (2, 4, 1)
    assert rows[0]["gradient_norm"] == pytest.approx(13)


@pytest.mark.parametrize(
    ("losses", "norms", "best"),
    [
        ((2, 1, 3), (13, 0, 130), 1),
        ((np.nan, 1, -3), (13, 0, 130), 2),
        ((-np.inf, 1, 3), (13, 0, 130), 1),
        ((1, 2, 3), (np.inf, 0, 130), 1),
    ],
)
def test_the_best_restart_is_the_finite_one_with_the_lowest_loss(losses, norms, best):
    logs = {"loss": losses, "gradient_norm": norms, "kl": (10, 11, 12)}
    logs = {name: ops.convert_to_tensor(values, "float32") for name, values in logs.items()}
    picked = {name: float(value) for name, value in best_restart(logs).items()}
    assert picked == {"loss": losses[best], "gradient_norm": norms[best], "kl": 10 + best}


def logged(chunks, more=None):
    """Feed ``(updates, seconds, terms)`` to a log, one chunk each; return the row it writes."""
    rows, clock = [], SimpleNamespace(updates=[10], seconds=[], chunk_updates=0)
    log = logger(rows, clock, len(chunks) + (more is not None))
    for made, seconds, terms in chunks:
        clock.updates.append(clock.updates[-1] + made)
        clock.seconds.append(seconds)
        clock.chunk_updates = made
        log.after(terms)
    if more is not None:
        log.write_row(more)
    (row,) = rows
    return row


def test_the_row_of_a_divergence_is_logged():
    rows, clock = [], SimpleNamespace(updates=[0, 4], seconds=[1.0], chunk_updates=4)
    logs = {"loss": math.inf, "learning_rate": 0.1, "gradient_norm": 1.0}
    logger(rows, clock, 2).after(logs)
    assert rows[0]["update"] == 4


def speed_of(monkeypatch, times, updates, begins=(0,)):
    """Return the speed by a clock at these times of chunks, of which some begin a program."""
    clock, times = Clock(), iter(times)
    clock.model = SimpleNamespace(optimizer=SimpleNamespace(iterations=0))
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    for chunk, update in enumerate(updates):
        if chunk in begins:
            clock.begin()
        clock.before()
        before, clock.model.optimizer.iterations = clock.model.optimizer.iterations, update
        clock.after({})
        assert clock.chunk_updates == update - before
    assert clock.steps == updates[-1]
    return tuple(clock.speed())


def test_the_clock_tells_the_first_chunk_of_every_program_from_the_warm_ones(monkeypatch):
    # What lies between the chunks, as a validation does, is not training.
    times = [100.0, 107.0, 150.0, 152.0, 152.0, 154.0, 200.0, 204.0]
    assert speed_of(monkeypatch, times, (10, 20, 30, 35)) == (7.0 - 2.0, 15.0, 25 / 8.0)
    assert speed_of(monkeypatch, [1.0, 5.0], (10,)) == (4.0, 4.0, None)
    times = [100.0, 107.0, 107.0, 109.0, 109.0, 120.0, 120.0, 121.0, 121.0, 122.0]
    found = speed_of(monkeypatch, times, (10, 20, 30, 40, 50), begins=(0, 2))
    assert found == ((7.0 - 2.0) + (11.0 - 1.0), 22.0, 30 / 4.0)


def test_a_first_chunk_in_parts_is_cold_by_its_own_updates():
    """Compiling takes 7 s here, and an update 0.1 s, of whatever chunk."""
    clock = Clock()
    clock.restore({"updates": [0, 10, 20, 50, 500], "seconds": [8.0, 1.0, 3.0, 45.0], "cold": [0]})
    assert tuple(clock.speed()) == pytest.approx((7.0, 57.0, 10.0))
    # A program that was compiled before takes no time to compile.
    chunks = {"updates": [0, 10, 20, 30, 40], "seconds": [9.0, 1.0, 0.5, 2.0], "cold": [0, 2]}
    clock.restore(chunks)
    assert clock.speed().compile_seconds == pytest.approx(8.0)


TERMS = {"loss": 1.0, "learning_rate": 0.5, "gradient_norm": 2.0}


def test_rows_weigh_their_chunks_by_their_updates_and_take_columns_more():
    alone = {"update": 25, **TERMS, "updates_per_second": 7.5, "elapsed_seconds": 2.0}
    assert logged([(15, 2.0, TERMS)]) == alone
    other = {"loss": 5.0, "learning_rate": 0.25, "gradient_norm": 3.0}
    row = logged([(15, 2.0, TERMS), (5, 3.0, other)], {"validation": 7.0})
    assert row == {
        "update": 30,
        "loss": (15 * 1.0 + 5 * 5.0) / 20,
        "learning_rate": 0.25,
        "gradient_norm": 3.0,
        "validation": 7.0,
        "updates_per_second": 4.0,
        "elapsed_seconds": 5.0,
    }


class Still(ChunkTrainer):
    """A loss of two restarts that depends on no weight: decay alone moves them."""

    terms, restarts = ("loss",), (2,)

    def __init__(self):
        super().__init__()
        self.kernel = self.add_weight(shape=(2, 3), initializer="ones", name="0_kernel_1")
        self.bias = self.add_weight(shape=(2, 3), initializer="ones", name="0_bias_1")
        self.built = True

    def objective(self, batch, update):
        return {"loss": ops.mean(batch) + 0 * ops.sum(self.kernel + self.bias, axis=1)}


@pytest.mark.parametrize("decay", [0.5, np.array([0.5, 2.0])])
def test_weight_decay_takes_its_part_of_kernels_and_leaves_the_others_alone(decay):
    model = Still()
    model.prepare(settings(schedule="constant", learning_rate=0.1), UPDATES)
    model.decay = decay
    model.train_on(Slices(NOISE, 5), [])
    expected = (1 - 0.1 * np.broadcast_to(decay, 2)) ** UPDATES
    np.testing.assert_allclose(to_numpy(model.kernel.value), np.tile(expected, (3, 1)).T, 1e-5)
    np.testing.assert_array_equal(to_numpy(model.bias.value), 1)

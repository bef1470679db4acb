from functools import cache

import keras
import numpy as np
import pytest
from keras import ops
from truth import to_numpy

from nflow_cli.images.networks import LOG_VARIANCE_BOUND, build_networks

HIDDEN = {"relu": [12, 9], "maxout": [12, 9], "gated-conv": [10]}
WIDTH = {"relu": 9, "maxout": 9, "gated-conv": 10}  # of the context
DIM = 3

every_kind = pytest.mark.parametrize("kind", HIDDEN)
pixels = np.random.default_rng(0).random((5, 784), np.float32)
latents = np.random.default_rng(1).standard_normal((5, DIM)).astype(np.float32)


@cache
def networks(kind, seed=0):
    return build_networks(kind, HIDDEN[kind], DIM, seed)


@every_kind
def test_encoders_and_decoders_have_their_shapes(kind):
    encoder, decoder = networks(kind)
    shapes = [tuple(output.shape) for output in encoder(pixels)]
    assert shapes == [(5, DIM), (5, DIM), (5, WIDTH[kind])]
    assert tuple(decoder(latents).shape) == (5, 784)
    assert decoder.output_shape == (None, 784)


@every_kind
def test_each_example_is_encoded_and_decoded_alone_and_every_weight_is_trained(kind):
    encoder, decoder = networks(kind)
    one = [to_numpy(output) for output in (*encoder(pixels[2:3]), decoder(latents[2:3]))]
    all_ = [to_numpy(output) for output in (*encoder(pixels), decoder(latents))]
    for got, whole in zip(one, all_):
        np.testing.assert_allclose(got[0], whole[2], 1e-4, 1e-5)
    for network in (encoder, decoder):
        assert len(network.weights) == len(network.trainable_weights) > 0
        kernels = [to_numpy(w.value) for w in network.weights if len(w.shape) > 1]
        assert all(np.mean(kernel != 0) > 0.99 for kernel in kernels)


@every_kind
def test_a_seed_fixes_the_initial_values_bit_for_bit(kind):
    networks_of = [build_networks(kind, HIDDEN[kind], DIM, seed) for seed in (0, 0, 2**32 - 1)]
    first, again, other = ([w for n in pair for w in n.get_weights()] for pair in networks_of)
    for one, same, different in zip(first, again, other):
        np.testing.assert_array_equal(one, same)
        assert one.ndim == 1 or np.mean(one != different) > 0.99  # few meet by chance


@every_kind
def test_no_two_layers_start_with_the_same_values(kind):
    hidden = [12, 12, 12] if kind != "gated-conv" else [10]
    kernels = [
        w for n in build_networks(kind, hidden, 12, 0) for w in n.get_weights() if w.ndim > 1
    ]
    # Glorot's uniform values, brought back to (-1, 1), are independent between the layers.
    units = [(w / np.abs(w).max()).ravel() for w in kernels]
    for i, one in enumerate(units):
        for other in units[:i]:
            n = min(len(one), len(other))
            assert abs(np.corrcoef(one[:n], other[:n])[0, 1]) < 5 / np.sqrt(n)


def with_weights(network):
    return [layer for layer in network.layers if layer.weights]


def affine(layer, h):
    w, b = (np.asarray(value, float) for value in layer.get_weights())
    return h @ w + b


def test_the_perceptron_is_affine_maps_and_rectifiers():
    encoder, decoder = networks("relu")
    h = pixels.astype(float)
    for layer in with_weights(encoder)[:2]:
        h = np.maximum(affine(layer, h), 0)
    raw = affine(encoder.get_layer("log_variance"), h)
    mean = affine(encoder.get_layer("mean"), h)
    expected = [mean, LOG_VARIANCE_BOUND * np.tanh(raw / LOG_VARIANCE_BOUND), h]
    for got, wanted in zip(encoder(pixels), expected):
        np.testing.assert_allclose(to_numpy(got), wanted, 1e-4, 1e-5)
    first, second, last = with_weights(decoder)
    h = np.maximum(affine(first, latents), 0)
    assert h.shape == (5, 9)  # the encoder's widths, backwards
    h = np.maximum(affine(second, h), 0)
    np.testing.assert_allclose(to_numpy(decoder(latents)), affine(last, h), 1e-4, 1e-5)


def test_a_maxout_unit_is_the_largest_of_four_affine_maps():
    encoder, _ = networks("maxout")
    h = pixels.astype(float)
    for layer in with_weights(encoder)[:2]:
        w, b = (np.asarray(value, float) for value in layer.get_weights())
        width = w.shape[1] // 4
        maps = [h @ w[:, i::4] + b[i::4] for i in range(4)]
        assert w.shape[1] == 4 * width and len({m.shape for m in maps}) == 1
        h = np.maximum(np.maximum(maps[0], maps[1]), np.maximum(maps[2], maps[3]))
    assert h.shape == (5, 9)
    np.testing.assert_allclose(to_numpy(encoder(pixels)[2]), h, 1e-4, 1e-5)


def test_a_gated_convolution_is_a_convolution_times_the_gate_of_another():
    encoder, _ = networks("gated-conv")
    first, second = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)][
        :2
    ]
    probe = keras.Model(encoder.inputs[0], [first.output, second.input])
    both, gated = (to_numpy(output).astype(float) for output in probe(pixels))
    assert both.shape == (5, 28, 28, 64) and gated.shape == (5, 28, 28, 32)
    expected = both[..., :32] / (1 + np.exp(-both[..., 32:]))
    np.testing.assert_allclose(gated, expected, 1e-5, 1e-6)


def test_the_convolutions_are_those_of_the_paper():
    def sizes(network):
        kinds = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)
        found = [layer for layer in network.layers if isinstance(layer, kinds)]
        return [tuple(layer.output.shape[1:]) for layer in found]

    # Twice the filters: maps and gates (van den Berg et al. 2018, arXiv 1803.05649, appendix).
    encoder, decoder = networks("gated-conv")
    half = [(28, 28, 64), (14, 14, 64), (14, 14, 128), (7, 7, 128), (7, 7, 128)]
    assert sizes(encoder) == [*half, (1, 1, 20)]
    up = [(7, 7, 128), (7, 7, 128), (14, 14, 64), (14, 14, 64), (28, 28, 64), (28, 28, 64)]
    assert sizes(decoder) == [*up, (28, 28, 1)]


@every_kind
def test_the_log_variance_stays_within_its_bound(kind):
    encoder, _ = networks(kind)
    log_variance = to_numpy(encoder(1e6 * (pixels - 0.5))[1])
    assert np.all(np.abs(log_variance) <= LOG_VARIANCE_BOUND)
    assert not np.any(to_numpy(encoder(ops.zeros((1, 784)))[1]))  # no bias at the start

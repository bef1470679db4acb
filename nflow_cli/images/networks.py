"""Encoders and decoders of the VAE, as Keras functional models over 28 x 28 images."""

from collections.abc import Callable, Sequence

import keras
from keras import KerasTensor, layers, ops

from nflow_cli.random_streams import stream

PIXELS = 784
SIDE = 28
MAXOUT_WINDOW = 4
# The posterior's log-variance stays in (-10, 10): a standard deviation of 0.0067 to 148.
LOG_VARIANCE_BOUND = 10.0
NewInitializer = Callable[[], keras.Initializer]
HiddenLayer = Callable[[KerasTensor, int, NewInitializer], KerasTensor]  # of a width
Network = Callable[[KerasTensor, Sequence[int], NewInitializer], KerasTensor]  # of widths


def build_networks(
    network: str, hidden: Sequence[int], latent_dim: int, seed: int
) -> tuple[keras.Model, keras.Model]:
    """Build an encoder and a decoder.

    Args:
        network: ``relu``, ``maxout`` (perceptrons) or ``gated-conv``.
        hidden: Widths of hidden layers; for ``gated-conv`` that of the encoder's output.
        latent_dim: D.
        seed: Of the initial values.

    Returns:
        The encoder: pixels ``(batch, 784)`` to the posterior's mean and log-variance ``(batch, D)``
        and the last hidden layer ``(batch, H)``. The decoder: latents ``(batch, D)`` to pixel
        logits ``(batch, 784)``.
    """
    seeds = stream(seed, "networks")

    def initializer() -> keras.Initializer:
        return keras.initializers.GlorotUniform(seed=int(seeds.integers(2**31)))

    encode, decode = _BODIES[network]
    pixels = keras.Input((PIXELS,), name="pixels")
    context = encode(pixels, hidden, initializer)
    mean = layers.Dense(latent_dim, kernel_initializer=initializer(), name="mean")(context)
    raw = layers.Dense(latent_dim, kernel_initializer=initializer(), name="log_variance")(context)
    log_variance = LOG_VARIANCE_BOUND * ops.tanh(raw / LOG_VARIANCE_BOUND)
    latents = keras.Input((latent_dim,), name="latents")
    logits = decode(latents, hidden, initializer)
    return (
        keras.Model(pixels, [mean, log_variance, context], name="encoder"),
        keras.Model(latents, logits, name="decoder"),
    )


def _relu(x: KerasTensor, width: int, initializer: NewInitializer) -> KerasTensor:
    return layers.Dense(width, activation="relu", kernel_initializer=initializer())(x)


def _maxout(x: KerasTensor, width: int, initializer: NewInitializer) -> KerasTensor:
    """``width`` units, each the maximum of four affine maps (Goodfellow et al. 2013)."""
    pieces = layers.Dense(width * MAXOUT_WINDOW, kernel_initializer=initializer())(x)
    return ops.max(layers.Reshape((width, MAXOUT_WINDOW))(pieces), axis=-1)


def _perceptron(layer: HiddenLayer) -> tuple[Network, Network]:
    """Encoder and decoder of hidden layers, the decoder's in reverse order."""

    def encode(x: KerasTensor, hidden: Sequence[int], initializer: NewInitializer) -> KerasTensor:
        for width in hidden:
            x = layer(x, width, initializer)
        return x

    def decode(z: KerasTensor, hidden: Sequence[int], initializer: NewInitializer) -> KerasTensor:
        x = encode(z, hidden[::-1], initializer)
        return layers.Dense(PIXELS, kernel_initializer=initializer(), name="logits")(x)

    return encode, decode


# Filters, kernel size and stride of the Sylvester-flow paper's networks (arXiv 1803.05649).
_DOWN = ((32, 5, 1), (32, 5, 2), (64, 5, 1), (64, 5, 2), (64, 5, 1))
_UP = ((64, 5, 1), (32, 5, 2), (32, 5, 1), (32, 5, 2), (32, 5, 1))


def _gated(
    convolution: type[layers.Layer],
    x: KerasTensor,
    filters: int,
    initializer: NewInitializer,
    **size: int | str,
) -> KerasTensor:
    """``(W x) * sigmoid(V x)`` of two convolutions."""
    channels = convolution(2 * filters, kernel_initializer=initializer(), **size)(x)
    return channels[..., :filters] * ops.sigmoid(channels[..., filters:])


def _encode_convolution(
    x: KerasTensor, hidden: Sequence[int], initializer: NewInitializer
) -> KerasTensor:
    x = layers.Reshape((SIDE, SIDE, 1))(x)
    for filters, size, stride in _DOWN:
        shape = {"kernel_size": size, "strides": stride, "padding": "same"}
        x = _gated(layers.Conv2D, x, filters, initializer, **shape)
    x = _gated(layers.Conv2D, x, hidden[0], initializer, kernel_size=SIDE // 4)
    return layers.Flatten()(x)


def _decode_convolution(
    z: KerasTensor, hidden: Sequence[int], initializer: NewInitializer
) -> KerasTensor:
    x = layers.Reshape((1, 1, z.shape[-1]))(z)
    x = _gated(layers.Conv2DTranspose, x, 64, initializer, kernel_size=SIDE // 4)
    for filters, size, stride in _UP:
        shape = {"kernel_size": size, "strides": stride, "padding": "same"}
        x = _gated(layers.Conv2DTranspose, x, filters, initializer, **shape)
    x = layers.Conv2D(1, 1, kernel_initializer=initializer(), name="logits")(x)
    return layers.Flatten()(x)


_BODIES = {
    "relu": _perceptron(_relu),
    "maxout": _perceptron(_maxout),
    "gated-conv": (_encode_convolution, _decode_convolution),
}

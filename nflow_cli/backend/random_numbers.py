"""Random numbers within compiled programs, by counters: a resumed training has the same."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def uniform(shape: Sequence[int], seed: int, count: Any) -> Any:
    """Numbers within [0, 1) of a ``shape``, float32, fixed by a seed and a count, a tensor (Philox:
    Salmon et al. 2011).
    """
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(count, tf.int64)])
    return tf.random.stateless_uniform(shape, key)

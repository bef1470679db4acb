import keras

if keras.config.backend() == "jax":
    import jax

    # Without it JAX turns every float64 into a float32.
    jax.config.update("jax_enable_x64", True)
    # Hundreds of small programs are compiled and each runs a few times: do not optimise them.
    jax.config.update("jax_disable_most_optimizations", True)

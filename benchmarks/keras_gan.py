"""The dense GAN as the textbooks' Keras listings write it (`train_on_batch`); run by speed.py in TensorFlow's own
environment.

Prints one JSON line: images a second with `generator.predict` for the fakes, as the listings have it, and with a direct
call of the generator, the fastest that Keras offers.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras import layers

PIXELS, BATCH = 784, 128


def build(sizes: list[int], norm: bool, last: str) -> keras.Model:
    """Dense layers with LeakyReLU 0.2 between them."""
    model = keras.Sequential([layers.Input((sizes[0],))])
    for size in sizes[1:-1]:
        model.add(layers.Dense(size))
        if norm:
            model.add(layers.BatchNormalization(momentum=0.8))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Dense(sizes[-1], activation=last))
    return model


def main(rounds: int, seconds: float) -> None:
    """Measure both ways in turns."""
    adam = lambda: keras.optimizers.Adam(2e-4, beta_1=0.5)  # noqa: E731
    generator = build([100, 256, 512, 1024, PIXELS], True, "tanh")
    discriminator = build([PIXELS, 1024, 512, 256, 1], False, "sigmoid")
    discriminator.compile(loss="binary_crossentropy", optimizer=adam())
    discriminator.trainable = False
    latent = keras.Input((100,))
    both = keras.Model(latent, discriminator(generator(latent)))
    both.compile(loss="binary_crossentropy", optimizer=adam())
    discriminator.trainable = True
    data = np.random.default_rng(0).standard_normal((60_000, PIXELS)).astype("float32")
    ones, zeros = np.ones((BATCH, 1), "float32"), np.zeros((BATCH, 1), "float32")

    def step(direct: bool) -> None:
        noise = np.random.standard_normal((BATCH, 100)).astype("float32")
        fake = np.asarray(generator(noise, training=False)) if direct else generator.predict(noise, verbose=0)
        discriminator.train_on_batch(data[np.random.randint(0, len(data), BATCH)], 0.9 * ones)
        discriminator.train_on_batch(fake, zeros)
        both.train_on_batch(np.random.standard_normal((BATCH, 100)).astype("float32"), ones)

    speeds: dict[bool, list[float]] = {False: [], True: []}
    for direct in speeds:
        for _ in range(5):
            step(direct)
    for _ in range(rounds):
        for direct, found in speeds.items():
            images, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < seconds:
                step(direct)
                images += BATCH
            found.append(images / spent)
    print(
        json.dumps(
            {
                "predict": statistics.median(speeds[False]),
                "direct": statistics.median(speeds[True]),
                "keras": keras.__version__,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))

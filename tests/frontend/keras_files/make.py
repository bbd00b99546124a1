"""Writes keras2.h5 and what it gives, with tf_keras 2.21 (Keras 2), which the tests do without.

python tests/frontend/keras_files/make.py
"""

from pathlib import Path

import numpy as np
import tf_keras
from tf_keras import layers

HERE = Path(__file__).parent

tf_keras.utils.set_random_seed(0)
sound = layers.Input((12, 6), name="sound")
x = layers.Conv1D(8, 3, padding="causal", activation="relu")(sound)
x = layers.BatchNormalization(moving_mean_initializer="random_normal")(x)
x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
x = layers.GRU(4)(x)
image = layers.Input((8, 8, 3), name="image")
y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(image)
y = layers.SeparableConv2D(4, 3, strides=2, activation="relu6")(y)
y = layers.Conv2DTranspose(3, 2, strides=2)(y)
y = layers.LeakyReLU(0.2)(layers.LayerNormalization()(y))
y = layers.GlobalMaxPooling2D()(y)
both = layers.Dropout(0.5)(layers.Concatenate()([x, y]))
model = tf_keras.Model([sound, image], layers.Dense(3, activation="softmax", name="kind")(both))
model.compile("adam", "categorical_crossentropy")
model.save(HERE / "keras2.h5", include_optimizer=False)
rng = np.random.default_rng(0)
inputs = {
    "sound": rng.normal(size=(2, 12, 6)).astype("float32"),
    "image": rng.normal(size=(2, 8, 8, 3)).astype("float32"),
}
np.savez(HERE / "keras2.npz", **inputs, kind=model.predict(inputs, verbose=0))

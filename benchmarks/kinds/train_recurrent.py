"""Trains one of the recurrent networks of the kinds; see train.py.

    python -m benchmarks.kinds.train_recurrent name-bigru train.npz model.onnx

They are apart from the others, whose files are made anew whenever a script of theirs changes.
"""

from __future__ import annotations

from benchmarks.kinds import recurrent_networks, train
from benchmarks.kinds.train import Recipe

train.RECIPES = {
    "name-bigru": Recipe(recurrent_networks.NameBiGru, ("class",), 20, 4e-3),
    "names-bilstm": Recipe(recurrent_networks.NamesBiLstm, ("class",), 20, 8e-3),
    "digits-crnn": Recipe(recurrent_networks.DigitsCrnn, ("class",), 8, 6e-3),
}

if __name__ == "__main__":
    train.main()

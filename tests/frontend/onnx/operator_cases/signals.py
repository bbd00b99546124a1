"""Cases of Fourier transforms and of what comes with them."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates


@generates("DFT")
def transform(draw: Draw) -> None:
    dtype = draw.choose(["float32", "float32", "float64"])
    rank = draw.size(2, 4)
    shape = [draw.choose([2, 3, 4, 7, 8, 12]) for _ in range(rank)]
    inverse, onesided = draw.chance(0.4), draw.chance(0.4)
    shape[-1] = draw.size(1, 2) if not onesided else 1
    if inverse and onesided:
        onesided = False  # of real numbers; the reference's irfft came late
    axis = draw.size(0, rank - 2)
    attributes = {k: 1 for k, v in (("inverse", inverse), ("onesided", onesided)) if v}
    inputs = [draw.input(draw.array(dtype, shape))]
    inputs.append(draw.constant(np.asarray(draw.size(2, 12))) if draw.chance(0.4) else "")
    if draw.opset < 20:
        attributes["axis"] = axis
    else:
        inputs.append(draw.constant(np.asarray(axis)))
    while not inputs[-1]:
        inputs.pop()
    draw.node(inputs, **attributes)
    # ONNX Runtime divides an inverse by its length in single precision.
    draw.case.tolerance = 1e-4 if dtype == "float32" else 1e-6 if inverse else 1e-8


@generates("STFT")
def short_transform(draw: Draw) -> None:
    length, step = draw.choose([4, 7, 8, 16]), draw.size(1, 5)
    samples = length + draw.size(0, 20)
    shape = [draw.size(1, 2), samples, 1]
    inputs = [draw.input(draw.array("float32", shape)), draw.constant(np.asarray(step))]
    window = draw.tensor(draw.array("float32", [length], 0, 1)) if draw.chance(0.6) else ""
    inputs.append(window)
    if not window or draw.chance(0.5):
        inputs.append(draw.constant(np.asarray(length)))
    draw.node(inputs, **draw.maybe(onesided=draw.size(0, 1)))
    draw.case.tolerance = 1e-4


@generates("MelWeightMatrix")
def mel_weights(draw: Draw) -> None:
    numbers = [draw.size(2, 8), draw.choose([32, 64]), 8000]
    inputs = [draw.constant(np.asarray(number)) for number in numbers]
    inputs += [draw.constant(np.float32(hertz)) for hertz in (draw.size(0, 100), 3900)]
    (matrix,) = draw.step("MelWeightMatrix", inputs)
    x = draw.input(draw.array("float32", [2, numbers[1] // 2 + 1]))
    draw.give(*draw.step("MatMul", [x, matrix]))


@generates("TfIdfVectorizer")
def n_grams(draw: Draw) -> None:
    singles = sorted(set(map(int, draw.array("int64", [draw.size(1, 3)], 0, 3))))
    drawn = {tuple(map(int, draw.array("int64", [2], 0, 3))) for _ in range(draw.size(1, 4))}
    pool = singles + [number for pair in sorted(drawn) for number in pair]
    grams = len(singles) + len(drawn)
    shape = [draw.size(1, 3), draw.size(2, 8)] if draw.chance(0.6) else [draw.size(2, 8)]
    x = draw.input(draw.array("int64", shape, 0, 3))
    draw.node(
        [x],
        mode=draw.choose(["TF", "IDF", "TFIDF"]),
        min_gram_length=draw.size(1, 2),
        max_gram_length=2,
        max_skip_count=draw.size(0, 2),
        ngram_counts=[0, len(singles)],
        ngram_indexes=[int(i) for i in draw.rng.permutation(grams)],
        pool_int64s=pool,
        weights=[float(w) for w in draw.array("float32", [grams], 0.5, 2)],
    )

"""Our converter of TfIdfVectorizer: how often given sequences of numbers occur in others."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import constant, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax

#: Counts of a row.
_MOST_PLACES = 1 << 24


class TfIdfVectorizer(Converter):
    """TfIdfVectorizer of integers: comparisons of the input's windows with all n-grams at once."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        if "pool_int64s" not in attr:
            raise ValueError("n-grams of strings are not supported")
        shape = shape_of(inputs[0])
        if len(shape) > 2:
            raise ValueError(f"its input of shape {shape} has more than 2 dimensions")
        pool, starts = list(attr["pool_int64s"]), list(attr["ngram_counts"])
        columns, mode = list(attr["ngram_indexes"]), attr["mode"].decode()
        grams = _n_grams(pool, starts)
        if len(grams) != len(columns) or not columns or min(columns) < 0:
            raise ValueError(f"it has {len(grams)} n-grams, and {len(columns)} places for them")
        weights = list(attr.get("weights", [1.0] * len(grams)))
        if len(weights) != len(grams):
            raise ValueError(f"it has {len(grams)} n-grams, and {len(weights)} weights for them")
        limits = np.iinfo(dtype_of(inputs[0]))
        if not all(limits.min <= number <= limits.max for gram in grams for number in gram):
            raise ValueError(f"its n-grams hold numbers that {dtype_of(inputs[0])} can't")
        rows = shape[0] if len(shape) == 2 else 1
        data = bb.emit(relax.op.reshape(inputs[0], (rows, shape[-1])))
        shortest, longest = attr["min_gram_length"], attr["max_gram_length"]
        if not 1 <= shortest <= longest or attr["max_skip_count"] < 0:
            raise ValueError(
                f"it counts n-grams of {shortest} to {longest} numbers, with "
                f"{attr['max_skip_count']} left out at most"
            )
        width = max(columns) + 1
        if width > _MOST_PLACES:
            raise ValueError(f"it counts in {width:,} places; the limit is {_MOST_PLACES:,}")
        total: Any = constant(np.zeros((rows, width), "float32"))
        for length in sorted({len(gram) for gram in grams}):
            if not shortest <= length <= longest:
                continue
            chosen = [i for i, gram in enumerate(grams) if len(gram) == length]
            # Single numbers have no gaps, and a gap is shorter than the input.
            skips = range(min(attr["max_skip_count"], shape[-1]) + 1 if length > 1 else 1)
            places = [
                [begin + k * (skip + 1) for k in range(length)]
                for skip in skips
                for begin in range(shape[-1] - (length - 1) * (skip + 1))
            ]
            if not places:
                continue
            windows = bb.emit(relax.op.take(data, constant(np.array(places)), 1, mode="clip"))
            spread = bb.emit(relax.op.expand_dims(windows, 2))
            wanted = np.array([grams[i] for i in chosen], dtype_of(data))
            same = bb.emit(relax.op.equal(spread, constant(wanted[None, None])))
            whole = bb.emit(relax.op.min(bb.emit(relax.op.astype(same, "int32")), [-1]))
            counts = relax.op.astype(bb.emit(relax.op.sum(whole, [1])), "float32")
            # Each n-gram's count goes to its column.
            matrix = np.zeros((len(chosen), width), "float32")
            matrix[np.arange(len(chosen)), [columns[i] for i in chosen]] = 1
            part = bb.emit(relax.op.matmul(bb.emit(counts), constant(matrix)))
            total = bb.emit(relax.op.add(total, part))
        if mode in ("IDF", "TFIDF"):
            factors = np.zeros(width, "float32")
            factors[columns] = weights
            if mode == "IDF":
                total = relax.op.minimum(total, relax.const(1.0, "float32"))
            total = relax.op.multiply(total, constant(factors))
        return relax.op.reshape(total, (*shape[:-1], width))


def _n_grams(pool: list[int], starts: list[int]) -> list[list[int]]:
    """The n-grams in the order of the pool: first the single numbers, then the pairs, …"""
    if any(not 0 <= begin <= len(pool) for begin in starts):
        raise ValueError(f"its ngram_counts are {starts}, and its pool has {len(pool)} numbers")
    grams = []
    for length, (begin, end) in enumerate(
        zip(starts, [*starts[1:], len(pool)], strict=True), start=1
    ):
        grams += [pool[i : i + length] for i in range(begin, end - length + 1, length)]
    return grams


#: ONNX operator -> converter.
TEXT = {"TfIdfVectorizer": TfIdfVectorizer}

"""Calibration: watch the float network on samples, and give each tensor its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from tvmcomp.errors import CalibrationError
from tvmcomp.qparams import QParams, activation_qparams
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.observers import OBSERVERS, Observer
from tvmcomp.quantize.probe import Probe
from tvmcomp.runtime.threads import default_threads
from tvmcomp.tvm_types import Var


def calibrate(
    probe: Probe,
    samples: Iterable[list[np.ndarray]],
    config: QuantConfig,
    step: Callable[[], None] = lambda: None,
) -> dict[Var, QParams]:
    """Observe every tensor that the plan quantizes.

    Args:
        probe: the instrumented float network.
        samples: the network's inputs, in order, a sample at a time.
        config: names each tensor's observer: that of the first operator that reads it.
        step: called after each sample.

    Returns:
        For each tensor, its uint8 parameters.

    Raises:
        CalibrationError: a tensor of the network became NaN.
    """
    observers: dict[Any, Observer] = {}
    for operator in probe.operators:
        chosen = config.for_operator(operator.name, operator.kind).observer or config.observer
        for tensor in operator.reads:
            observers.setdefault(tensor, OBSERVERS[chosen]())

    def observe(observed: Mapping[Any, np.ndarray], tensor: Any) -> None:
        try:
            observers[tensor].observe(observed[tensor])
        except CalibrationError as error:
            raise CalibrationError(
                error.what,
                where=f"the tensor that '{tensor.name}' gives",
                hint="Check the calibration samples: is their preprocessing the network's?",
            ) from None

    with ThreadPoolExecutor(default_threads()) as pool:  # What counts leaves Python meanwhile.
        for inputs in samples:
            _, observed = probe.run(inputs)
            list(pool.map(partial(observe, observed), observers))
            step()
    ranges = {tensor: observer.range() for tensor, observer in observers.items()}
    return {tensor: activation_qparams(lo, hi, "uint8") for tensor, (lo, hi) in ranges.items()}

"""PyTorch networks of torchvision and timm, with random weights: ours beside torch, in float32.

Batch normalisation takes its statistics from random pictures, so that activations keep their size.
Errors are the largest difference as a share of the output's largest value: `error` ours from torch,
`ours` and `torch` of each from torch in float64, which says what of it is rounding.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

import tvmcomp
from tvmcomp import targets
from tvmcomp.api import build
from tvmcomp.errors import TvmcompError

if TYPE_CHECKING:
    import torch

#: The side of the pictures that a network takes, where its shape leaves the choice.
SIDE = 96
#: Name -> side. Those of timm have its name before them.
NETWORKS = {
    "resnet18": SIDE,
    "mobilenet_v2": SIDE,
    "mobilenet_v3_small": SIDE,
    "efficientnet_b0": SIDE,
    "densenet121": SIDE,
    "squeezenet1_1": SIDE,
    "shufflenet_v2_x1_0": SIDE,
    "regnet_y_400mf": SIDE,
    "mnasnet0_5": SIDE,
    "googlenet": SIDE,
    "swin_t": SIDE,
    "timm/vit_tiny_patch16_224": 224,
    "timm/convnextv2_atto": SIDE,
    "timm/mobilenetv4_conv_small": SIDE,
    "timm/mobilevit_xxs": SIDE,
    "timm/edgenext_xx_small": SIDE,
    "timm/ghostnet_100": SIDE,
    "timm/fastvit_t8": 128,
    "timm/efficientformerv2_s0": 224,
    "timm/levit_128s": 224,
    "timm/tiny_vit_5m_224": 224,
    "timm/xcit_nano_12_p16_224": 224,
}
ACCURACY = 1e-5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this table."""
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)} [all]")


def run(args: argparse.Namespace) -> int:
    """Print a row for each network; 1 where one is refused or differs."""
    print(f"{'network':32} {'error':>8} {'ours':>8} {'torch':>8} {'export s':>9} {'build s':>8}")
    failed = 0
    for name in args.networks or NETWORKS:
        try:
            errors, exported, built = measure(name)
        except TvmcompError as error:
            print(f"{name:32} refused: {' '.join(str(error).split())[:300]}", flush=True)
            failed += 1
            continue
        failed += not agree(*errors)
        shown = " ".join(f"{error:8.1e}" for error in errors)
        print(f"{name:32} {shown} {exported:9.1f} {built:8.1f}", flush=True)
    print(f"{len(args.networks or NETWORKS) - failed} of {len(args.networks or NETWORKS)} agree")
    return int(failed > 0)


def agree(error: float, ours: float, theirs: float) -> bool:
    """Whether ours is as near torch as ACCURACY, or no further from float64 than torch is."""
    return error <= ACCURACY or ours <= max(ACCURACY, theirs)


def measure(name: str) -> tuple[tuple[float, float, float], float, float]:
    """The errors, and the seconds of the export and of the build."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    side = NETWORKS[name]
    network = settled(network_of(name), side)
    x = torch.randn(1, 3, side, side)
    with torch.no_grad():
        expected = network(x).numpy()
    start = time.perf_counter()
    model = tvmcomp.convert(network, example_inputs=(x,))
    exported = time.perf_counter() - start
    start = time.perf_counter()
    artifact = build(model, target=one_thread(), reference=False)
    built = time.perf_counter() - start
    with tvmcomp.load(artifact) as session:
        (got,) = session.run({session.signature.inputs[0].name: x.numpy()}).values()
    with torch.no_grad():
        exact = network.double()(x.double()).numpy()
    errors = (share(got, expected), share(got, exact), share(expected, exact))
    return errors, exported, built


def share(value: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference as a share of the reference's largest value."""
    return float(np.abs(value - reference).max() / np.abs(reference).max())


def network_of(name: str) -> torch.nn.Module:
    """The network, with its own random weights."""
    if name.startswith("timm/"):
        torchvision()  # timm imports it
        return importlib.import_module("timm").create_model(name.removeprefix("timm/"))
    options = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    return torchvision().models.get_model(name, weights=None, **options)


def settled(network: torch.nn.Module, side: int) -> torch.nn.Module:
    """``network`` in evaluation mode, its statistics taken from random pictures."""
    import torch

    for part in network.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.momentum = None  # the mean of all batches
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, side, side))
    return network.eval()


def torchvision() -> ModuleType:
    """torchvision, whose compiled operators load beside one build of torch only."""
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError:  # Its Python code asks no more than that these are defined.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        LIBRARIES.append(library)
        return importlib.import_module("torchvision")


#: They undo what they define when they go.
LIBRARIES: list[torch.library.Library] = []


def one_thread() -> targets.TargetDescription:
    """This machine, with one core."""
    import msgspec

    return msgspec.structs.replace(targets.detect(), cores=1)

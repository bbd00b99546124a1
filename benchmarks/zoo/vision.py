"""The networks of the zoo that are there for their speed only: untrained networks of images.

No package holds their ImageNet weights, so export_vision.py makes random ones. How fast they
run can be compared between engines; what they answer means nothing.
"""

from __future__ import annotations

from benchmarks.zoo.packages import Wheel

TORCHVISION = Wheel(
    "torchvision",
    "0.28.0",
    "7e80f543b22503d9415e126db5f0ff3917036925e38560ee6b9ae38c571a4002",
)

#: Name -> what it is, and the wheels its export reads.
UNTRAINED: dict[str, tuple[str, tuple[Wheel, ...]]] = {
    "resnet18": ("ResNet-18", (TORCHVISION,)),
    "resnet50": ("ResNet-50", (TORCHVISION,)),
    "mobilenet-v2": ("MobileNetV2", (TORCHVISION,)),
    "mobilenet-v3-large": ("MobileNetV3-large", (TORCHVISION,)),
    "squeezenet1.1": ("SqueezeNet 1.1", (TORCHVISION,)),
    "vit-tiny": ("ViT-tiny (patch 16), as timm's", ()),
    "densenet121": ("DenseNet-121", (TORCHVISION,)),
    "shufflenet-v2": ("ShuffleNetV2", (TORCHVISION,)),
    "inception-v1": ("Inception v1 (GoogLeNet)", (TORCHVISION,)),
    "unet": ("U-Net", ()),
    "csp-detector": ("detector of CSP blocks, as YOLOv5's smallest", ()),
    "preact-resnet18": ("ResNet-18 with normalizations before its convolutions", ()),
}

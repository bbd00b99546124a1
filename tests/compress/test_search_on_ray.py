"""Candidates that are made on a Ray cluster are those that are made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from needed import package
from networks import classifier, images

ray = pytest.importorskip("ray", reason="the ray extra is not installed")
package("torch", "compress")

from tvmcomp.progress import NoProgress  # noqa: E402
from tvmcomp.search.candidate import Candidate  # noqa: E402
from tvmcomp.search.making import Maker  # noqa: E402
from tvmcomp.search.prepare import prepared  # noqa: E402

pytestmark = pytest.mark.slow

CANDIDATES = (
    Candidate("int8", "int8 alone", ({"name": "quantize"},)),
    Candidate("few bits", "few bits alone", ({"name": "quantize", "bits": 4},)),
)


@pytest.fixture
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_networks_are_the_same(tmp_path: Path, cluster: None) -> None:
    model = classifier(tmp_path / "net.onnx", softmax=True)
    np.savez(tmp_path / "samples.npz", x=images(60, 3, 16, 16))

    def maker(name: str, builders: str | None) -> Maker:
        return prepared(
            model, tmp_path / name, tmp_path / "samples.npz", None, None, None, 0, "rpi4",
            "127.0.0.1:1", NoProgress(), {}, builders,
        )  # fmt: skip

    there, here = maker("there", "ray"), maker("here", None)
    assert there.at_once == 2 and here.at_once == 1
    there.ahead(CANDIDATES)
    here.ahead(CANDIDATES)
    for candidate in CANDIDATES:
        assert there.artifact(candidate).exists() and not here.artifact(candidate).exists()
        assert there.tried(candidate) == here.tried(candidate)
        network = there.network(candidate).read_bytes()
        assert network == here.network(candidate).read_bytes()

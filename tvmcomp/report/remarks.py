"""What a person should know of artifacts before they read figures of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tvmcomp.artifact.artifact import Artifact


def remarks(artifacts: Mapping[str, Artifact]) -> Iterator[str]:
    """Which of several shapes the figures are of, and whether two are of one network.

    Args:
        artifacts: by name; the second is shown beside the first.
    """
    if len({_shapes(each) for each in artifacts.values()}) > 1:
        yield "their inputs or outputs differ: these are not one network built twice"
    for name, artifact in artifacts.items():
        first, *others = artifact.metadata.signatures
        if others:
            yield (
                f"{name} was built for {1 + len(others)} shapes; its figures are of the first, "
                f"{first.shapes_text}"
            )


def _shapes(artifact: Artifact) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """What goes in and comes out, but for names."""
    signature = artifact.metadata.signature
    return tuple(
        (each.dtype, tuple(each.shape)) for each in (*signature.inputs, *signature.outputs)
    )

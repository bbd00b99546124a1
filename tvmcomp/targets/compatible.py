"""Whether code for a target runs on this machine: asked before native code is loaded."""

from __future__ import annotations

from tvmcomp.errors import TargetError
from tvmcomp.targets import features as cpu_features
from tvmcomp.targets.description import TargetDescription

#: The C libraries, as triples name them and as people do.
_LIBCS = {"gnu": "glibc", "musl": "musl"}


def runs_here(target: TargetDescription) -> str | None:
    """Return why code for ``target`` can't run on this machine, or None when it can.

    Works without TVM's compiler: ``features`` of a target from
    :func:`tvmcomp.targets.load` names all that the machine must have.
    """
    needed = cpu_features.architecture(target.triple)
    here = cpu_features.host_architecture()
    if needed != here:
        return f"it is code for {needed}, and this machine is {here}"
    libc = cpu_features.host_libc()
    if next((name for name in _LIBCS if name in target.triple), libc) != libc:
        other = _LIBCS["musl" if libc == "gnu" else "gnu"]
        return f"it is code for systems with {other}, and this one has {_LIBCS[libc]}"
    comparable = set(cpu_features.known(here))
    missing = sorted(comparable.intersection(target.features) - cpu_features.host_features())
    if missing:
        return f"this CPU lacks {', '.join(missing)}"
    return _gpu_mismatch(target.cuda_arch) if target.family == "cuda" else None


def _gpu_mismatch(cuda_arch: str) -> str | None:
    from tvmcomp.targets.gpu import detect_cuda

    try:
        here = detect_cuda().cuda_arch
    except TargetError as error:
        return error.what
    # A cubin runs on GPUs of its own major version, from its own minor version on; one whose
    # name ends in "a" only on exactly that version.
    same = here == cuda_arch.rstrip("af")
    major, minor = _version(cuda_arch)
    here_major, here_minor = _version(here)
    if same or (not cuda_arch.endswith("a") and here_major == major and here_minor >= minor):
        return None
    return f"it is code for a GPU of type {cuda_arch}, and this one is {here}"


def _version(cuda_arch: str) -> tuple[int, int]:
    """``sm_90a`` is (9, 0); ``sm_120`` is (12, 0)."""
    return divmod(int(cuda_arch.removeprefix("sm_").rstrip("af")), 10)

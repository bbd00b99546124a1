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
    if runs_on_gpu(cuda_arch, here):
        return None
    return f"it is code for a GPU of type {cuda_arch}, and this one is {here}"


def runs_on_gpu(made_for: str, here: str) -> bool:
    """Whether a GPU of architecture ``here`` runs what was built for ``made_for``: machine code, or
    the PTX beside it, which later ones compile. A name that ends in a letter is for no other.
    """
    if here == made_for.rstrip("af"):
        return True
    return made_for[-1].isdigit() and version_of(here) >= version_of(made_for)


def runs_machine_code(made_for: str, here: str) -> bool:
    """Whether it runs the machine code itself: that of its major version, up to its minor one."""
    same_major = version_of(here)[0] == version_of(made_for)[0]
    return runs_on_gpu(made_for, here) and same_major


def version_of(arch: str) -> tuple[int, int]:
    """``sm_90a`` is (9, 0); ``sm_120`` is (12, 0)."""
    return divmod(int(arch.removeprefix("sm_").rstrip("af")), 10)

"""Finding a target: the TOML files that ship, the user's own, and the two that are detected."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import msgspec

from tvmcomp.errors import TargetError
from tvmcomp.targets import features as cpu_features
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.gpu import detect_cuda
from tvmcomp.targets.host import detect

_PACKAGE = Path(__file__).parents[1]
#: In a checkout the files are at the top level; a wheel carries them inside the package.
_FOLDERS = (_PACKAGE / "data" / "targets", _PACKAGE.parent / "targets")

#: Names that are not in a file: they say what this machine is.
DETECTED: dict[str, Callable[[], TargetDescription]] = {"native": detect, "cuda": detect_cuda}


def shipped() -> dict[str, Path]:
    """Return the name and the file of every target that ships."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    found = {path.stem: path for path in folder.glob("*.toml")} if folder else {}
    return dict(sorted(found.items()))


def names() -> list[str]:
    """Return every name that :func:`load` knows, the detected ones first."""
    return [*DETECTED, *shipped()]


def load(name_or_path: str | Path) -> TargetDescription:
    """Return a target by name, or from a TOML file of the user's own.

    ``features`` of the result holds, beside those of the file, the features that LLVM takes for
    granted on the target's ``cpu``: all that a machine must have to run the code.

    Args:
        name_or_path: one of :func:`names`, or a path that ends in ``.toml`` or holds a ``/``.

    Raises:
        TargetError: there is no such target, its file does not hold what it should, LLVM does not
            know its CPU or features, or the machine can't be detected.
    """
    text = str(name_or_path)
    if text in DETECTED:
        return DETECTED[text]()
    if text.endswith(".toml") or "/" in text:
        return complete(read(Path(text)), where=text)
    if text not in shipped():
        near = difflib.get_close_matches(text, names(), n=3, cutoff=0.4)
        raise TargetError(
            f"there is no target {text!r}",
            hint=(f"Near: {', '.join(near)}. " if near else "")
            + "See `tvmcomp targets list`, or give the path of a TOML file.",
        )
    return complete(read(shipped()[text]), where=text)


def read(path: Path) -> TargetDescription:
    """Read one target's TOML file as it stands.

    Raises:
        TargetError: the file can't be read, is not TOML, or a key is unknown, missing or wrong.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=TargetDescription)
    except OSError as error:
        raise TargetError(
            f"can't read the target's file: {error.strerror}", where=str(path)
        ) from None
    except msgspec.ValidationError as error:
        raise TargetError(
            str(error),
            where=str(path),
            hint="The keys are those of tvmcomp.targets.TargetDescription; "
            "`tvmcomp targets show rpi4` prints a whole example.",
        ) from None
    # ValueError: no UTF-8, a number of thousands of digits; RecursionError: deep nesting.
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise TargetError(f"not a TOML file: {error}", where=str(path)) from None


def complete(target: TargetDescription, where: str) -> TargetDescription:
    """Check ``cpu`` and ``features`` with LLVM and add the features that the CPU implies.

    Raises:
        TargetError: LLVM does not know the CPU or one of the features.
    """
    from tvmcomp.tvm_import import tvm  # the command's start-up does not wait for LLVM

    llvm = tvm.target.codegen
    generic = tvm.target.Target({"kind": "llvm", "mtriple": target.triple})
    if target.cpu and not llvm.llvm_is_valid_cpu(target.cpu, target.triple):
        cpus = [str(cpu) for cpu in llvm.llvm_get_cpu_archlist(generic)]
        near = difflib.get_close_matches(target.cpu, cpus, n=3)
        raise TargetError(
            f"LLVM knows no CPU {target.cpu!r} for {target.triple}",
            where=where,
            hint=f"Near: {', '.join(near)}." if near else 'cpu = "" is the generic one.',
        )
    described = tvm.target.Target(target.host_target_dict())
    enabled = {str(name) for name in llvm.llvm_get_cpu_features(described)}
    if unknown := [name for name in target.features if name not in enabled]:
        raise TargetError(
            f"LLVM knows no feature {', '.join(unknown)} for {target.triple}",
            where=where,
            hint="Write LLVM's names without a sign: avx512vnni, dotprod, fullfp16, i8mm.",
        )
    known = cpu_features.known(cpu_features.architecture(target.triple))
    implied = (name for name in known if name in enabled)
    return msgspec.structs.replace(target, features=tuple(sorted({*target.features, *implied})))

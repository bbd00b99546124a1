"""``build`` and ``tune``: the whole flow, from a model file to an artifact or to tuning records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from tvmcomp import arguments, frontend, targets
from tvmcomp.arguments import Formats, Quant
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.codegen.compile import compile_module
from tvmcomp.codegen.race import race_on
from tvmcomp.errors import ConfigError
from tvmcomp.formats.fastest import fastest_formats
from tvmcomp.formats.variants import Workshop
from tvmcomp.frontend import ModelSource
from tvmcomp.model import Model
from tvmcomp.old_names import renamed
from tvmcomp.passes.dump import Dump
from tvmcomp.passes.lowering.generic_kernels import with_generic_marked
from tvmcomp.passes.lowering.sparse_form import sparse_notes
from tvmcomp.passes.operator_inputs import operator_inputs
from tvmcomp.passes.samples_apart import times_as_many
from tvmcomp.progress import NoProgress, Progress
from tvmcomp.quantize import QuantConfig
from tvmcomp.quantize.data import Samples, load_samples
from tvmcomp.quantize.precision import choose_precision, same_precision
from tvmcomp.reference_run import cost_of_float, first_inputs, named, reference_of
from tvmcomp.runtime.acceptance import accept
from tvmcomp.shape_bindings import Shapes, check_shapes, shape_bindings, shape_notes
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.events import Event, TuneSummary
from tvmcomp.tuning.kernel_works import kernel_works
from tvmcomp.tuning.kernels import check_tunable, tune_kernels
from tvmcomp.tuning.log.places import Location, open_log
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.used_records import UsedRecords

SampleSource = str | os.PathLike[str] | Iterable[Mapping[str, Any]]


def build(
    model: ModelSource,
    target: str | TargetDescription = "native",
    quant: Quant | None = None,
    calibration: SampleSource | None = None,
    shapes: Mapping[str, Shapes] | None = None,
    trials: int = 0,
    log: Location | Sequence[Location] | None = None,
    *,
    config: QuantConfig | str | os.PathLike[str] | None = None,
    formats: Formats | None = None,
    device: str | None = None,
    linker: str | None = None,
    reference: bool = True,
    small: bool = False,
    dump: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    tuning_progress: Callable[[Event], None] | None = None,
    dims: Mapping[str, int | Sequence[int]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    signature: str | None = None,
    cc: str | None = None,
    golden: bool | None = None,
) -> Artifact:
    """Compile a trained network for a device.

    Args:
        model: the model file or SavedModel folder, or a network in memory: an
            ``onnx.ModelProto``, a ``torch.nn.Module`` with ``example_inputs``, a
            ``torch.export.ExportedProgram`` or a ``keras.Model``.
        target: a target's name, a path to a target's TOML, or a description.
        quant: None keeps float32; ``int8`` needs ``calibration`` (unless the model is quantized
            already); ``dynamic`` is int8 without calibration, data rounded when the network runs;
            ``fp16`` and ``bf16`` store and multiply the weights in half precision and
            accumulate in float32.
        calibration: an iterable of ``{input name: array}``, or a path to an .npz file or to a
            folder of .npy, .npz or images.
        shapes: full shapes of inputs with dynamic dimensions. A list of shapes of one input builds
            the network for each of them, with one set of weights (the k-th of several inputs go
            together): ``{"x": [(1, 3, 224, 224), (8, 3, 224, 224)]}``. It is calibrated, and its
            reference is kept, for the first.
        dims: sizes of dimensions that the model has names for: ``{"batch": 1, "seq": 128}``; or a
            list of sizes, as for ``shapes``.
        fixed: values of inputs that become constants: ``{"sr": 16000}``. What depends on them alone
            is folded.
        trials: candidates to measure for each kernel; 0 tunes nothing and uses what the log holds.
        log: tuning records to read and write: a folder, a ``.db`` file, a database's address, or
            several of which the first is written; None for the user's own folder.
        config: quantization settings, or a path to their TOML.
        formats: of ``int8``: ``fastest`` (the default) lets operators run in float32 where that is
            faster, by times measured where the target's code runs, or that the log holds;
            ``unmeasured`` by the log or a model of the target; ``asked`` keeps all in int8 that the
            accuracy guard allows.
        device: where to measure formats, and while tuning; None for this machine.
        linker: a C compiler's command line to link with, in place of the built-in linker.
        reference: keep reference inputs and outputs in the artifact: what it must give.
        small: code the weights: the artifact becomes smaller, by nothing that is lost; they are
            decoded when it is first used, and then take memory of their own.
        dump: a folder to write the module to after every phase.
        progress: is told of each stage.
        tuning_progress: is told of each trial.
        example_inputs: the tensors, in a tuple, that a PyTorch module's forward is called with.
        dynamic_shapes: dimensions of a PyTorch module that stay open, for ``shapes`` to bind; as
            of ``torch.export.export``.
        signature: which of a SavedModel's signatures, where it has several.
        cc, golden: what ``linker`` and ``reference`` were called.

    Raises:
        TvmcompError: the model, target, samples, configuration, tools or device don't do; the
            message says which and what to do.
    """
    linker = renamed("cc", cc, "linker", linker)
    reference = renamed("golden", golden, "reference", reference)
    quant, values = arguments.number_format(quant), arguments.fixed(fixed)
    bindings = shape_bindings(shapes, dims)
    trials = arguments.integer(trials, "trials", 0)
    device, linker = _texts(device=device, linker=linker)
    chosen_by = arguments.formats(formats)
    arguments.function(tuning_progress, "tuning_progress")
    if progress is not None and not callable(getattr(progress, "stage", None)):
        raise ConfigError("progress has no method `stage`; see tvmcomp.progress.Progress")
    progress = progress or NoProgress()
    watch = Dump(arguments.path(dump, "dump")) if dump is not None else None
    description = _target(target)
    if small and description.family == "cuda":
        raise ConfigError(
            f"the weights of {description.name} can't be coded: on a GPU nothing decodes them",
            hint="Leave --small (small=True) out.",
        )
    settings = _config(config)
    # An error in it is known now, and not after minutes of work.
    records = open_log(arguments.locations(log, "log"))
    if trials > 0:
        check_tunable(description, device, records)
    progress.stage("importing")
    networks = [
        frontend.load_model(
            model,
            bound.shapes,
            dims=bound.dims,
            fixed=values,
            for_quantization=quant is not None,
            example_inputs=example_inputs,
            dynamic_shapes=dynamic_shapes,
            signature=signature,
        )
        for bound in bindings
    ]
    check_shapes(networks, description)
    network, signatures = networks[0], [each.signature for each in networks]
    samples = _samples(calibration, network, settings)
    here = targets.detect()
    choice = choose_precision(network, description, here, quant, samples, settings, progress, watch)
    inputs = first_inputs(network, samples)
    workshop = Workshop(network, description, records, linker)
    named_inputs = named(network.signature.inputs, inputs)
    found = fastest_formats(choice, workshop, chosen_by, device, named_inputs, progress)
    choice = found.choice
    mods = [choice.mod]
    for other in networks[1:]:
        mods.append(same_precision(choice, other, description, here, quant, settings, watch))
    if trials > 0:
        options = TuneOptions(trials, device=device, linker=linker, progress=tuning_progress)
        for each, mod in zip(networks, mods, strict=True):
            if each is not network and times_as_many(mods[0], mod):
                continue  # it is run by the first one's kernels
            summary = tune_kernels(each, replace(choice, mod=mod), description, records, options)
            if summary.interrupted:  # What was measured is kept; the same build goes on from there.
                raise KeyboardInterrupt
    library, used = found.library, found.used
    timed_is_built = len(mods) == 1 and trials == 0 and watch is None
    if library is None or used is None or not timed_is_built:
        progress.stage("compiling")
        with UsedRecords(records, description, linker) as used:
            library = compile_module(
                mods,
                description,
                signatures,
                watch=watch,
                tuned=used,
                half=choice.half,
                linker=linker,
                race=race_on(description),
            )
    operators = used.named_in(choice.operators, library.sources)
    if description.family != "cuda":
        operators = with_generic_marked(operators, library.sources, library.tasks)
    reads = operator_inputs(choice.mod, [operator.name for operator in operators])
    operators = [
        msgspec.structs.replace(each, inputs=reads.get(each.name, ())) for each in operators
    ]
    progress.stage("checking")
    notes = [*choice.notes, *used.notes(), *sparse_notes(library.sparse, description)]
    constants = sum(array.nbytes for array in library.constants)
    notes += shape_notes(signatures, library.shared_nbytes, constants)
    artifact = Artifact.create(
        library=library.binary,
        code=library.code,
        constants={f"constant_{i}": array for i, array in enumerate(library.constants)},
        target=description,
        signature=network.signature,
        source=network.source,
        source_digest=network.digest,
        quant=choice.precision,
        calibration=choice.calibration,
        operators=operators,
        kernels=kernel_works(operators, library.computed, library.unscheduled),
        notes=notes,
        unaligned_inputs=library.unaligned_inputs,
        states=network.states,
        variants=signatures[1:],
    )
    notes += cost_of_float(choice, artifact, here, inputs)
    kept = reference_of(choice, artifact, here, inputs) if reference else None
    artifact = artifact.completed(kept, notes)
    # Who asks for int8 wants a small file, too: in float32 by the clock, weights still have 8 bits.
    in_float = choice.calibration.get("formats", {}).get("chosen") in ("float32", "mixed")
    if small or (in_float and description.family != "cuda"):
        artifact = artifact.small()
    accept(artifact, named_inputs)
    return artifact


def tune(
    model: ModelSource,
    target: str | TargetDescription = "native",
    trials: int | None = 64,
    log: Location | Sequence[Location] | None = None,
    *,
    budget: float | None = None,
    operators: Sequence[str] = (),
    quant: Quant | None = None,
    calibration: SampleSource | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    config: QuantConfig | str | os.PathLike[str] | None = None,
    formats: Formats | None = None,
    device: str | None = None,
    linker: str | None = None,
    builders: str | None = None,
    more: bool = False,
    progress: Callable[[Event], None] | None = None,
    dims: Mapping[str, int] | None = None,
    fixed: Mapping[str, Any] | None = None,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    signature: str | None = None,
    cc: str | None = None,
    runner: str | None = None,
) -> TuneSummary:
    """Search for faster schedules of a network's kernels and log what is measured.

    The arguments are those of :func:`build`, and:

    Args:
        trials: None tries as many as are worth their time.
        budget: seconds that the search may take, about.
        operators: tune only kernels with one of these texts in their names; all where empty.
        builders: a Ray cluster to build candidates on: ``ray``, or its address.
        more: search again where the log holds a finished search.
        cc: what ``linker`` was called.
        runner: what is put before programs on a ``device`` with a shell, as for
            :func:`tvmcomp.connect`.

    Raises:
        ConfigError: no kernel has such a name.
        TvmcompError: as :func:`build` says.
    """
    linker = renamed("cc", cc, "linker", linker)
    quant, bound = arguments.number_format(quant), arguments.shapes(shapes)
    sizes, values = arguments.dims(dims), arguments.fixed(fixed)
    trials = None if trials is None else arguments.integer(trials, "trials", 1)
    budget = None if budget is None else arguments.seconds(budget, "budget")
    operators = arguments.texts(operators, "operators")
    device, linker, builders, runner = _texts(
        device=device, linker=linker, builders=builders, runner=runner
    )
    chosen_by = arguments.formats(formats)
    arguments.function(progress, "progress")
    description = _target(target)
    settings = _config(config)
    # An error in it is known now, and not after minutes of work.
    records = open_log(arguments.locations(log, "log"))
    check_tunable(description, device, records)
    network = frontend.load_model(
        model,
        bound,
        dims=sizes,
        fixed=values,
        for_quantization=quant is not None,
        example_inputs=example_inputs,
        dynamic_shapes=dynamic_shapes,
        signature=signature,
    )
    samples = _samples(calibration, network, settings)
    choice = choose_precision(
        network, description, targets.detect(), quant, samples, settings, NoProgress(), None
    )
    given = named(network.signature.inputs, first_inputs(network, samples))
    workshop = Workshop(network, description, records, linker)
    choice = fastest_formats(
        choice, workshop, chosen_by, device, given, NoProgress(), runner
    ).choice
    options = TuneOptions(
        trials,
        budget=budget,
        device=device,
        builders=builders,
        linker=linker,
        more=more,
        progress=progress,
        runner=runner,
    )
    return tune_kernels(network, choice, description, records, options, operators)


def _config(config: QuantConfig | str | os.PathLike[str] | None) -> QuantConfig:
    if isinstance(config, QuantConfig):
        return config
    if config is None:
        return QuantConfig()
    return QuantConfig.load(arguments.path(config, "config"))


def _target(target: str | os.PathLike[str] | TargetDescription) -> TargetDescription:
    if isinstance(target, TargetDescription):
        return target
    return targets.load(arguments.path(target, "target"))


def _texts(**given: str | None) -> list[str | None]:
    """The values, each None or a text that is not empty."""
    return [None if value is None else arguments.text(value, name) for name, value in given.items()]


def _samples(
    calibration: SampleSource | None, network: Model, settings: QuantConfig
) -> Samples | None:
    if calibration is None:
        return None
    chosen = settings.calibration
    return load_samples(calibration, network.signature, chosen.images, chosen.max_samples)

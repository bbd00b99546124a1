"""The body of a driver's ``run``: what a plan's steps are in C."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tvmcomp.codegen.native.c_text import comment
from tvmcomp.codegen.native.plan import Call, Loop, Place, Plan, Step, Tensor
from tvmcomp.codegen.native.workspace import ALIGNMENT, Workspace


def tensor_text(tensor: Tensor) -> str:
    """``float32[1, 8]``."""
    return f"{tensor.dtype}{list(tensor.shape)}"


class Addresses:
    """The expressions of C for where tensors lie.

    A buffer that is an output's lies in the caller's memory, if that is aligned. An output that is
    no buffer of its own is copied at the end.

    Args:
        plan: the plan.
        workspace: where its buffers lie.
        inputs: the inputs' names.
    """

    def __init__(self, plan: Plan, workspace: Workspace, inputs: Sequence[str]) -> None:
        self.plan, self.offsets = plan, workspace.offsets
        self.inputs = inputs
        #: The buffers that lie in the caller's memory -> of which output.
        self.direct: dict[Place, int] = {}
        for i, output in enumerate(plan.outputs):
            place = output.place
            whole = place.kind == "buffer" and plan.buffers[place.index] == output.nbytes
            if whole and place in self.offsets:
                self.direct.setdefault(place, i)

    def of(self, tensor: Tensor) -> str:
        """The address of a tensor."""
        place = tensor.place
        if place in self.direct:
            return f"out{self.direct[place]}"
        if place.kind == "input":
            return f"in{place.index}" if place in self.offsets else f"in[{place.index}]"
        if place.kind == "buffer":
            return f"w + {self.offsets[place]}"
        names = {"constant": "weight[{}]", "trip": "&trip{}"}
        return names.get(place.kind, place.kind + "{}").format(place.index)

    def declarations(self) -> Iterable[str]:
        """The variables that addresses are made of."""
        for place, offset in self.offsets.items():
            if place.kind == "input":
                i, size = place.index, self.plan.inputs[place.index].nbytes
                yield f"  const void *in{i} = in[{i}];"
                copied = f"memcpy(w + {offset}, in{i}, {size})"
                yield f"  if ((uintptr_t)in{i} % {ALIGNMENT}) in{i} = {copied};"
            elif place.kind in ("carried", "next"):
                yield f"  uint8_t *{place.kind}{place.index} = w + {offset};"
        for place, i in self.direct.items():
            yield (
                f"  uint8_t *const out{i} = "
                f"(uintptr_t)out[{i}] % {ALIGNMENT} ? w + {self.offsets[place]} : out[{i}];"
            )

    def results(self) -> Iterable[str]:
        """What leaves every output in the caller's memory."""
        for place, i in self.direct.items():
            size = self.plan.buffers[place.index]
            if size:
                yield f"  if (out{i} != out[{i}]) memcpy(out[{i}], out{i}, {size});"
        for i, output in enumerate(self.plan.outputs):
            if self.direct.get(output.place) != i and output.nbytes:
                yield f"  memcpy(out[{i}], {self.of(output)}, {output.nbytes});"


class Steps:
    """The statements of steps.

    Args:
        plan: the plan.
        addresses: where its tensors lie.
        name: the network's.
    """

    def __init__(self, plan: Plan, addresses: Addresses, name: str) -> None:
        self.plan, self.addresses, self.name = plan, addresses, name

    def lines(self, steps: Iterable[Step], indent: str) -> Iterable[str]:
        """The statements of ``steps``, in order."""
        for step in steps:
            of_step = self._call(step) if isinstance(step, Call) else self._loop(step)
            yield from (indent + line for line in of_step)

    def _call(self, call: Call) -> Iterable[str]:
        takes = ", ".join(map(tensor_text, call.inputs))
        gives = ", ".join(map(tensor_text, call.outputs))
        yield f"/* {comment(self.plan.kernels[call.kernel])}: ({takes}) -> {gives} */"
        arguments = ", ".join(map(self.addresses.of, (*call.inputs, *call.outputs)))
        yield f"CALL({call.kernel}, {self.name}_k{call.kernel}({arguments}));"

    def _loop(self, loop: Loop) -> Iterable[str]:
        at, trip, going = self.addresses.of, f"trip{loop.number}", f"going{loop.number}"
        trips = f"*(const int64_t *)({at(loop.trips)})"
        yield f"/* a loop{f' of at most {loop.most} trips' if loop.most else ''} */"
        for start, home in zip(loop.starts, loop.carried, strict=True):
            yield from _copied(at(home), at(start), home.nbytes)
        for _, rows in loop.rows:
            if not loop.fixed and rows.nbytes:  # those of trips that are not run
                yield f"memset({at(rows)}, 0, {rows.nbytes});"
        more = [] if loop.fixed else [f"{trip} < {trips}"]
        if loop.most:
            more.append(f"{trip} < {loop.most}")
        yield f"_Alignas({ALIGNMENT}) int64_t {trip} = 0;"
        if not loop.fixed:
            yield f"uint8_t {going} = *(const uint8_t *)({at(loop.going)});"
            more.insert(0, going)
        yield f"for (; {' && '.join(more)}; {trip}++) {{"
        yield from self.lines(loop.body, "  ")
        yield from ("  " + line for line in self._ended(loop, going))
        yield "}"

    def _ended(self, loop: Loop, going: str) -> Iterable[str]:
        """What follows a trip: its rows are kept, its states become the next one's."""
        at = self.addresses.of
        for row, rows in loop.rows:
            if row.nbytes:
                to = f"{at(rows)} + trip{loop.number} * {row.nbytes}"
                yield from _copied(to, at(row), row.nbytes)
        if loop.condition is not None:
            yield f"{going} = *(const uint8_t *)({at(loop.condition)});"
        pairs = list(zip(loop.carried, loop.states, strict=True))
        for i, spare in loop.spare.items():
            yield from _copied(at(spare), at(loop.states[i]), spare.nbytes)
        for i, (home, state) in enumerate(pairs):
            if i not in loop.spare and not _rotates(home, state):
                yield from _copied(at(home), at(state), home.nbytes)
        for i, spare in loop.spare.items():
            yield from _copied(at(loop.carried[i]), at(spare), spare.nbytes)
        for home, state in pairs:
            if _rotates(home, state):
                one, other = f"carried{home.place.index}", f"next{home.place.index}"
                yield f"uint8_t *const then{home.place.index} = {one};"
                yield f"{one} = {other}, {other} = then{home.place.index};"


def _rotates(home: Tensor, state: Tensor) -> bool:
    return state.place == Place("next", home.place.index)


def _copied(to: str, source: str, size: int) -> Iterable[str]:
    if size and to != source:
        yield f"memcpy({to}, {source}, {size});"

"""Phases: what fails is named, and so is what a phase leaves undone."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax

from tvmcomp.errors import ModelError
from tvmcomp.passes.phase import PassError, Phase
from tvmcomp.passes.pipeline import CANONICAL
from tvmcomp.passes.properties import convolutions_channels_last
from tvmcomp.passes.rewriter import const


def convolution():
    kernel = const(np.ones((4, 3, 3, 3), np.float32))
    return module(lambda emit, x: emit(relax.op.nn.conv2d(x, kernel), "y"), x=(1, 3, 8, 8))


def failing(error):
    def apply(mod):
        raise error

    return apply


def test_the_pass_that_fails_is_named():
    phase = Phase("early", {"fine": lambda mod: mod, "broken": failing(KeyError("x"))})
    with pytest.raises(PassError, match="pass broken of phase early: KeyError: 'x'"):
        phase.run(convolution())


def test_an_error_of_the_input_stays_one():
    with pytest.raises(ModelError, match="too deep"):
        Phase("early", {"broken": failing(ModelError("too deep"))}).run(convolution())


def test_each_pass_is_watched_in_order():
    seen = []
    CANONICAL.run(convolution(), lambda name, mod: seen.append(name))
    assert seen == list(CANONICAL.passes)


def test_what_a_phase_must_give_is_checked():
    mod = convolution()
    assert "NCHW" in convolutions_channels_last(mod)
    assert convolutions_channels_last(CANONICAL.run(mod)) == ""
    phase = Phase("idle", {}, ensures=(convolutions_channels_last,))
    with pytest.raises(PassError, match=r"phase idle gives .* convolution in NCHW"):
        phase.run(mod)

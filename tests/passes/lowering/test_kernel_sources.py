from tvmcomp.passes.lowering.kernel_sources import kernels_of_operators


def test_operators_are_found_by_their_names():
    sources = {
        "fused_conv_1__conv2d_add_relu": frozenset(
            {"conv_1__conv2d1", "conv_1__conv2d", "conv_1__conv2d_bias", "add", "gv"}
        ),
        "transpose": frozenset({"transpose", "x_t"}),
        "transpose1": frozenset({"transpose1", "gv1"}),
        "conv_10__conv2d": frozenset({"conv_10__conv2d"}),
    }
    operators = ["x_t", "conv_1__conv2d", "conv_1__conv2d_bias", "conv_10__conv2d", "conv_100"]
    assert kernels_of_operators(operators, sources) == {
        "x_t": ["transpose"],
        "conv_1__conv2d": ["fused_conv_1__conv2d_add_relu"],
        "conv_1__conv2d_bias": ["fused_conv_1__conv2d_add_relu"],
        "conv_10__conv2d": ["conv_10__conv2d"],
    }

"""ONNX's own node tests: a fast choice of what networks use, and all of them as ``slow``."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_node_suite import DISPUTED, node_tests, outcomes, results, run_case
from onnxruntime import InferenceSession

from tvmcomp.frontend import load_model  # noqa: F401  imported before the children are forked

#: How many of the 1,884 cases of onnx 1.23 pass; TVM's importer alone passes 733.
PASSING = 1782
#: And of every third one, 628 cases.
PASSING_OF_A_THIRD = 592

COMMON = """
add_bcast and2d argmax_keepdims_example averagepool_1d_default averagepool_2d_ceil
averagepool_2d_pads_count_include_pad averagepool_2d_same_lower averagepool_3d_default
basic_conv_with_padding batchnorm_example cast_FLOAT_to_DOUBLE clip_default_int8_min
concat_3d_axis_negative_2 conv_with_autopad_same conv_with_strides_and_asymmetric_padding
convtranspose_1d convtranspose_autopad_same convtranspose_output_shape cumsum_1d_exclusive
depthtospace_crd_mode_example dequantizelinear_axis dynamicquantizelinear einsum_batch_matmul
equal expand_dim_unchanged eyelike_with_dtype flatten_axis2 gather_negative_indices
gather_elements_1 gathernd_example_int32 gelu_tanh_1 gemm_all_attributes globalaveragepool
group_normalization_example gru_seq_length hardmax_axis_1 hardswish if instancenorm_epsilon
isinf_positive layer_normalization_4d_axis1 lstm_with_peepholes logsoftmax_large_number lrn
matmul_4d max_float32 maxpool_2d_ceil maxpool_2d_dilations maxpool_2d_same_lower mean_example
min_int32
mish mod_mixed_sign_int32 mvn onehot_negative_indices pow_types_float32_int64 prelu_broadcast
quantizelinear_axis range_float_type_positive_delta reduce_log_sum_exp_keepdims_random
reduce_mean_default_axes_keepdims_random reflect_pad reshape_negative_extended_dims
resize_upsample_sizes_nearest resize_downsample_scales_cubic_antialias
rms_normalization_3d_axis2_epsilon
scatter_elements_with_axis selu shape shrink_soft slice_neg_steps softmax_default_axis
softplus spacetodepth split_variable_parts_2d_opset18 squeeze_negative_axes swish tile
top_k transpose_all_permutations_3 tril_neg unsqueeze_two_axes where_example
""".split()  # noqa: SIM905  one a line would be 80 lines


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMMON)
def test_common_operator(name, tmp_path):
    if name not in node_tests():
        pytest.skip("this version of onnx has no such case")
    run_case(node_tests()[name], tmp_path / "m.onnx")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DISPUTED)
def test_disputed_results_are_onnxruntimes(name, tmp_path):
    got, feeds = results(node_tests()[name], tmp_path / "m.onnx")
    session = InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(got, session.run(None, feeds), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.filterwarnings("ignore")
def test_a_third_of_the_suite(tmp_path):
    """Every third case: it passes, or is refused with a reason."""
    _check(list(node_tests())[::3], PASSING_OF_A_THIRD, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_whole_suite(tmp_path):
    _check(list(node_tests()), PASSING, tmp_path)


def _check(names, least, folder):
    results = dict(outcomes(names, folder))
    kinds = ("passes", "refused", "disputed")
    assert not {name: each for name, each in results.items() if each.kind not in kinds}
    # Another version of onnx has another number of cases.
    share = least / (1884 if len(names) > 1000 else 628)
    assert sum(each.kind == "passes" for each in results.values()) >= share * len(names)

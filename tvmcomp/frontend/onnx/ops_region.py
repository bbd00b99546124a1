"""Our converters of operators that sample regions of an image: RoiAlign, MaxRoiPool, GridSample."""

from __future__ import annotations

from typing import Any

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.grid_sample import sample_image
from tvmcomp.frontend.onnx.values import constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class RoiAlign(Converter):
    """RoiAlign; regions are in pixels of the image times ``spatial_scale``."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._align(bb, inputs, attr, b"output_half_pixel")

    @classmethod
    def _impl_v16(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._align(bb, inputs, attr, b"half_pixel")

    @classmethod
    def _align(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], default: bytes) -> Expr:
        dtype = dtype_of(inputs[0])
        data, regions = (_at_least_single(bb, value) for value in inputs[:2])
        half_pixel = attr.get("coordinate_transformation_mode", default) == b"half_pixel"
        # TVM scales after it shifts by half a pixel; here the shift comes last.
        scale = constant_like(regions, attr.get("spatial_scale", 1.0))
        regions = bb.emit(relax.op.multiply(regions, scale))
        if half_pixel:
            regions = bb.emit(relax.op.subtract(regions, constant_like(regions, 0.5)))
        count = shape_of(regions)[0]
        batch = relax.op.reshape(relax.op.astype(inputs[2], dtype_of(regions)), (count, 1))
        aligned = relax.op.vision.roi_align(
            data,
            bb.emit(relax.op.concat([bb.emit(batch), regions], axis=1)),
            pooled_size=(attr.get("output_height", 1), attr.get("output_width", 1)),
            spatial_scale=1.0,
            sample_ratio=attr.get("sampling_ratio", 0),
            aligned=half_pixel,
            layout="NCHW",
            mode=attr.get("mode", b"avg").decode(),
        )
        return _back(bb, aligned, dtype)


class MaxRoiPool(Converter):
    """MaxRoiPool."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        dtype = dtype_of(inputs[0])
        pooled = relax.op.vision.roi_pool(
            *(_at_least_single(bb, value) for value in inputs[:2]),
            pooled_size=tuple(attr["pooled_shape"]),
            spatial_scale=attr.get("spatial_scale", 1.0),
            layout="NCHW",
        )
        return _back(bb, pooled, dtype)


class GridSample(Converter):
    """GridSample of images and volumes."""

    @classmethod
    def _impl_v16(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        dtype = dtype_of(inputs[0])
        data, grid = (_at_least_single(bb, value) for value in inputs[:2])
        if dtype_of(data) != dtype_of(grid):  # TVM computes in the wider, and says it does not
            data, grid = (bb.emit(relax.op.astype(value, "float64")) for value in (data, grid))
        rank = len(shape_of(data))
        mode = attr.get("mode", b"linear").decode()
        if rank not in (4, 5):
            raise ValueError(f"its data has {rank} dimensions; 4 and 5 are supported")
        mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
        if rank == 5 and mode == "bicubic":
            raise ValueError("cubic sampling of a volume is not supported")
        padding = attr.get("padding_mode", b"zeros").decode()
        align_corners = bool(attr.get("align_corners", 0))
        if rank == 4:
            sampled = sample_image(bb, data, grid, mode, padding, align_corners)
        else:
            sampled = relax.op.image.grid_sample(
                data,
                bb.emit(relax.op.permute_dims(grid, [0, 4, 1, 2, 3])),
                method=mode,
                layout="NCDHW",
                padding_mode=padding,
                align_corners=align_corners,
            )
        return _back(bb, sampled, dtype)


def _at_least_single(bb: Builder, expr: Expr) -> Expr:
    """``expr`` in float32, or in float64 where it is."""
    if dtype_of(expr) in ("float32", "float64"):
        return expr
    return bb.emit(relax.op.astype(expr, "float32"))


def _back(bb: Builder, expr: Expr, dtype: str) -> Expr:
    expr = bb.normalize(expr)
    return expr if dtype_of(expr) == dtype else relax.op.astype(expr, dtype)


#: ONNX operator -> converter.
REGION = {"GridSample": GridSample, "MaxRoiPool": MaxRoiPool, "RoiAlign": RoiAlign}

"""Operators of ONNX in torch, a family a file, by the table that :mod:`.table` holds."""

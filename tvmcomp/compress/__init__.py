"""ONNX to smaller ONNX. torch, an extra, is imported in this package and nowhere else but by the
frontend of its files."""

"""ONNX: a file becomes Relax."""

"""Every operator that computes or moves much, one at a time, against ONNX Runtime."""

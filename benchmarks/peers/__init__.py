"""tvmcomp beside ONNX Runtime and OpenVINO: latency, memory, calls."""

"""A QuantSim as an ONNX file that integer runtimes load."""

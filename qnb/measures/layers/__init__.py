"""FP32 against QuantSim, layer by layer."""

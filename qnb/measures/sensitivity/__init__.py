"""Which quantizers cost the accuracy: three estimators, from one pass to one evaluation per quantizer."""

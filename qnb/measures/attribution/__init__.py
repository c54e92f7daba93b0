"""Which layers' weights, activations and biases a model's output error comes from."""

"""Encodings files: scale and offset of every quantized tensor, written and read."""

"""Files for devices: ONNX with quantization in it, and encodings beside it."""

from qnb.export.encodings.file import export_encodings as export_encodings
from qnb.export.onnx.file import export_onnx as export_onnx

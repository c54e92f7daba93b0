"""Files for devices: ONNX with quantization in it, and encodings beside it."""

from qnb.export.encodings import export_encodings as export_encodings
from qnb.export.onnx_file import export_onnx as export_onnx

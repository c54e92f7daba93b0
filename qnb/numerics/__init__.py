"""Numerics: grids, precisions, and the one quantize-dequantize operator."""

from qnb.numerics.affine import affine_parameters as affine_parameters
from qnb.numerics.affine import dequantize as dequantize
from qnb.numerics.affine import quantize as quantize
from qnb.numerics.affine import smallest_scale as smallest_scale
from qnb.numerics.fake_quantize import fake_quantize as fake_quantize
from qnb.numerics.fake_quantize import fake_quantize_ as fake_quantize_
from qnb.numerics.grid import FloatGrid as FloatGrid
from qnb.numerics.grid import Grid as Grid
from qnb.numerics.grid import parse_grid as parse_grid
from qnb.numerics.precision import Precision as Precision

"""Methods: one recovery technique per file. Each changes the sim it is given and returns a `Result`."""

from qnb.methods.adaround import adaround as adaround
from qnb.methods.correct_bias import correct_bias as correct_bias
from qnb.methods.equalize import equalize as equalize
from qnb.methods.gptq import gptq as gptq
from qnb.methods.method import METHODS as METHODS
from qnb.methods.method import STAGES as STAGES
from qnb.methods.method import Method as Method
from qnb.methods.method import check_order as check_order
from qnb.methods.reestimate_batch_norm import reestimate_batch_norm as reestimate_batch_norm
from qnb.methods.reporting.result import Result as Result
from qnb.methods.scale_search import scale_search as scale_search
from qnb.methods.search_mixed_precision import search_mixed_precision as search_mixed_precision
from qnb.methods.seq_mse import seq_mse as seq_mse
from qnb.methods.smooth import smooth as smooth
from qnb.methods.train import train as train

"""Methods: one recovery technique per file. Each changes the sim it is given and returns a `Result`."""

from qnb.methods.method import METHODS as METHODS
from qnb.methods.method import Method as Method
from qnb.methods.method import check_order as check_order
from qnb.methods.result import Result as Result

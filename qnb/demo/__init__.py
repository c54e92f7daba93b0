"""Demo: real data that comes with scikit-learn and small trained models, all offline.

>>> digits().classes
10
"""

from qnb.demo.demo import Demo as Demo
from qnb.demo.detector import detector as detector
from qnb.demo.digits import digits as digits
from qnb.demo.language import language as language
from qnb.demo.transformer import transformer as transformer

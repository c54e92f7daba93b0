"""A workflow as one ``.qnb`` file: a zip, written whole or not at all, read without running anything in it.

``workflow.json`` holds everything a reader shows, ``document.json`` the same as a page (`qnb.document`), and
``model.safetensors`` the captured FP32 model, once. ``sims/<number>.safetensors`` is a simulation: its settings, its
encodings, and the tensors that differ from the model's.

The file may come from a stranger. JSON is checked against a schema before anything is made of it, tables column by
column, simulations against the graph they stand on; each part's schema stands where that part is read. Text is shown
and never run; a line of code that a panel offers is left out unless it calls a workflow's own step (`code`).
"""

from qnb.workflow.storage.reading import load as load
from qnb.workflow.storage.writing import save as save

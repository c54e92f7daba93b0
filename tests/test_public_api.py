"""Public names are a contract: these lists change only together with the changelog."""

import inspect
import types

import pytest

import qnb

NAMES = {
    "FloatGrid",
    "Grid",
    "Precision",
    "QuantSim",
    "Score",
    "Workflow",
    "accuracy",
    "attribute",
    "calibration_curve",
    "compare_layers",
    "cross_entropy",
    "export_encodings",
    "export_onnx",
    "fidelity",
    "inputs",
    "load",
    "perplexity",
    "sensitivity",
    "sequence_errors",
}
MODULES = {"charts", "demo", "errors", "methods", "panels", "runtimes", "targets"}

SIGNATURES = {
    "QuantSim": "model, example_inputs=None, precision='w8a16', *, target='htp-v75', dynamic_shapes=None, "
    "simulate_bias=None",
    "QuantSim.calibrate": "batches, method='minmax', progress=None, *, layers=None, **options",
    "QuantSim.set_precision": "layers, precision",
    "QuantSim.enable": "layers=None, kind=None",
    "QuantSim.disable": "layers=None, kind=None",
    "QuantSim.freeze": "layers=None",
    "QuantSim.unfreeze": "layers=None",
    "QuantSim.layers": "",
    "QuantSim.encodings": "",
    "QuantSim.copy": "",
    "QuantSim.exact": "runtime",
    "QuantSim.load_encodings": "path",
    "QuantSim.save": "path",
    "QuantSim.load": "path",
    "compare_layers": "sim, batches, *, own=True, progress=None, watch=None",
    "attribute": "sim, batches, *, progress=None",
    "calibration_curve": "sim, batches, *, judged_on=None, progress=None",
    "export_onnx": "sim, path, *, form=None, batch=None, integer_io=False, progress=None",
    "export_encodings": "sim, path, version='1.0.0'",
    "fidelity": "sim, runtime, batches, *, progress=None",
    "runtimes.OnnxRuntime": "path, *, threads=None, batch=None, shapes=None",
    "runtimes.QnnHtp": "path, soc='sm8650', *, threads=None, batch=None, shapes=None, fp16=None, fallback=False",
    "runtimes.QnnHtp.compile": "path",
    "runtimes.OnnxRuntime.run": "*inputs",
    "runtimes.OnnxRuntime.latency": "*inputs, runs=50, warmup=5",
    "runtimes.OnnxRuntime.placement": "",
    "inputs": "loader, keep=1",
    "sensitivity": "sim, batches=None, *, estimator='fisher', evaluate=None, loss=None, executor=None, layers=None, "
    "seed=0, progress=None",
    "Score": "value, n=None, per_sample=None, higher_is_better=True, *, weights=None, mean='arithmetic'",
    "cross_entropy": "batches, *, ignore_index=-100, shift=None",
    "sequence_errors": "sim, batches, *, progress=None, watch=None",
    "perplexity": "batches, *, ignore_index=-100, shift=None",
    "accuracy": "loader",
    "load": "path, *, model=None, calibration=None, evaluate=None",
}
FIRST_PARAMETERS = {
    "Workflow": ("model", "calibration", "evaluate", "tolerance", "target", "calibration_method"),
    "Workflow.check": (),
    "Workflow.run": ("precision", "name", "layers", "calibration_method"),
    "Workflow.summary": (),
    "Workflow.compare": (),
    "Workflow.diff": ("a", "b"),
    "Workflow.save": ("path",),
    "Workflow.panel": (),
    "Workflow.explore": (),
    "Workflow.submit": ("step",),
    "Workflow.what_if": ("run",),
    "Workflow.report": ("path",),
    "Workflow.deploy": ("run", "folder"),
    "Workflow.recover": ("run", "methods"),
    "Workflow.diagnose": ("run",),
    "Workflow.calibration_curve": ("run",),
    "Workflow.next_steps": (),
    "Workflow.sensitivity": ("run", "estimator"),
    "Workflow.sequence_errors": ("run",),
    "Workflow.search_mixed_precision": ("run",),
    "Workflow.measure": (),
}
"""Of these DESIGN.md shows calls only: each must take what is written there, and may offer more with defaults."""


def find(path: str):
    value = qnb
    for name in path.split("."):
        value = getattr(value, name)
    return value


def parameters(path: str) -> list[inspect.Parameter]:
    """Without ``self``, as a caller sees them."""
    value = find(path)
    found = list(inspect.signature(value).parameters.values())
    bound = bool(found) and (found[0].name == "self" or (found[0].name == "flow" and path.startswith("Workflow.")))
    return found[1:] if bound else found


def written(path: str) -> str:
    """The parameters as in a ``def``, without annotations."""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters(path)]
    return str(inspect.Signature(bare))[1:-1]


def test_the_names():
    assert set(qnb.__all__) == {"__version__", *NAMES, *MODULES}
    assert len(set(qnb.__all__)) == len(qnb.__all__) and set(qnb.__all__) <= set(dir(qnb))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_resolves_and_says_what_it_is(name):
    value = getattr(qnb, name)
    assert callable(value) and value.__name__ == name
    assert value.__module__.startswith("qnb.")
    said = inspect.getdoc(value) or ""
    assert len(said) > 40 and not said.startswith(f"{name}("), "a dataclass's automatic docstring says nothing"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_resolves_and_says_what_it_is(name):
    module = getattr(qnb, name)
    assert isinstance(module, types.ModuleType) and module.__name__ == f"qnb.{name}" and module.__doc__


@pytest.mark.parametrize("path", SIGNATURES)
def test_signature(path):
    assert written(path) == SIGNATURES[path]


@pytest.mark.parametrize("path", FIRST_PARAMETERS)
def test_it_takes_what_the_design_passes(path):
    found = parameters(path)
    names = [p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    assert [n for n in names if n in FIRST_PARAMETERS[path]] == list(FIRST_PARAMETERS[path])
    needed = {p.name for p in found if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert needed <= set(FIRST_PARAMETERS[path])
    assert inspect.getdoc(find(path))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'quantsim'"):
        _ = qnb.quantsim

"""A wrong call fails before any work: no evaluation, no pass over the calibration data, and nothing is changed."""

import pytest
import torch

import qnb
from qnb.errors import QnbError


class Counted(list):
    """Batches that count how often they are gone through."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


class World:
    """A workflow with two runs, and how much work it has done."""

    def __init__(self):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
        self.data, self.evaluations = Counted(torch.randn(16, 8) for _ in range(3)), 0
        self.flow = qnb.Workflow(model, self.data, self.evaluate, example_inputs=torch.randn(16, 8), tolerance=1.0)
        self.flow.run("w8a8")
        self.flow.run("w4a8")
        self.front = self.flow.search_mixed_precision("w8a8", candidates=["w8a8", "w4a8"])

    def evaluate(self, model):
        self.evaluations += 1
        return float(model(torch.ones(2, 8)).mean())

    @property
    def work(self) -> tuple[int, int]:
        return self.evaluations, self.data.passes

    @property
    def sim(self):
        return self.flow["w4a8"].sim


@pytest.fixture(scope="module")
def world():
    return World()


RUN = {
    "option": (lambda f: f.run("w8a8", metod="mse"), r"metod='mse'\. Did you mean calibration_method='mse'\?"),
    "option of another rule": (
        lambda f: f.run("w8a8", percentile=99.0),
        r"Did you mean calibration_method='percentile', perc",
    ),
    "option of the rule": (
        lambda f: f.run("w8a8", calibration_method="percentile", percentil=99),
        r"Did you mean percentile=99\?",
    ),
    "percentile beyond 100": (lambda f: f.run("w8a8", calibration_method="percentile", percentile=101), "50 to 100"),
    "percentile as text": (lambda f: f.run("w8a8", calibration_method="percentile", percentile="99"), "50 to 100"),
    "rule": (lambda f: f.run("w8a8", calibration_method="percentle"), "Did you mean 'percentile'"),
    "rule of layers": (lambda f: f.run("w8a8", calibration_method={"0": "MSE"}), "Did you mean 'mse'"),
    "precision": (lambda f: f.run("int8"), r"unknown precision 'int8'\. Did you mean 'w8a8'\?"),
    "precision of layers": (lambda f: f.run("w8a8", layers={"0": "int4"}), "unknown precision 'int4'"),
    "layers' glob": (lambda f: f.run("w4a8", layers={"linear*": "w8a8"}), r"flow\.run: no layer matches 'linear\*'"),
    "methods' glob": (lambda f: f.run("w4a8", calibration_method={"relu_": "mse"}), "no layer matches 'relu_'"),
    "layers for the target": (lambda f: f.run("w8a8", layers={"0": "w3a8"}), "'0' at w3a8, which htp-v75 does not"),
    "layers as a list": (lambda f: f.run("w8a8", layers=["0"]), "layers=.*give a dict"),
    "fp32 with layers": (lambda f: f.run("fp32", layers={"0": "w8a8"}), "FP32 is the reference"),
    "fp32 under a name": (lambda f: f.run("fp32", name="baseline"), "name='baseline'.*leave name out"),
}
NAMES = {
    "reserved": (lambda f: f.run("w4a8", name="fp32"), "name='fp32'.*the reference"),
    "reserved, in capitals": (lambda f: f.run("w4a8", name="FP32"), "name='FP32'.*the reference"),
    "another precision's": (lambda f: f.run("w4a8", name="w8a8"), "name='w8a8' for a run at w4a8.*'w4a8-2'"),
    "empty": (lambda f: f.run("w4a8", name=""), "name=''.*give"),
    "blank": (lambda f: f.run("w4a8", name="  "), "name='  '.*give"),
    "number": (lambda f: f.run("w4a8", name=3), "name=3.*give"),
    "control character": (lambda f: f.run("w4a8", name="a\nb"), r"name='a\\nb'.*give"),
    "right to left": (lambda f: f.run("w4a8", name="a\u202eb"), "name='a.*give"),
    "long": (lambda f: f.run("w4a8", name="n" * 101), "101 characters.*100"),
    "recover's": (lambda f: f.recover("w4a8", "seq_mse", name="fp32"), "name='fp32'.*the reference"),
    "recover's other": (lambda f: f.recover("w4a8", name="fp16"), "name='fp16' for a run at w4a8"),
    "what-if's": (lambda f: f.what_if("w4a8").keep("fp32"), "no change"),
    "submit's": (lambda f: f.submit(f.run, "w4a8", name="w8a16"), "name='w8a16' for a run at w4a8"),
    "submit recover's": (lambda f: f.submit(f.recover, "w4a8", name=""), "name=''"),
    "a front's": (lambda f: f.pareto_fronts["w8a8"].keep(0, name="w4a8"), "name='w4a8' for a run at w8a8"),
    "a front's, reserved": (lambda f: f.pareto_fronts["w8a8"].keep(0, name="fp32"), "name='fp32'.*the reference"),
}
RECOVER = {
    "method": (lambda f: f.recover("w4a8", "adarond"), "Did you mean 'adaround'"),
    "option": (lambda f: f.recover("w4a8", "adaround", iteratons=3), r"Did you mean iterations=3\?"),
    "option of one": (lambda f: f.recover("w4a8", "adaround", adaround={"iteration": 3}), "Did you mean iterations=3"),
    "option of auto": (lambda f: f.recover("w4a8", "auto", mixed=False), "Did you mean mixed_precision=False"),
    "value of auto": (lambda f: f.recover("w4a8", "auto", train="no"), "train='no'"),
    "loader of auto": (lambda f: f.recover("w4a8", "auto", loader=iter([])), "one-shot"),
    "run": (lambda f: f.recover("w4a9+adaround"), "Did you mean"),
    "precision": (lambda f: f.recover("int4"), "unknown precision 'int4'"),
    "layers": (lambda f: f.recover("w4a8", "seq_mse", layers="fc*"), r"no layer matches 'fc\*'"),
    "layers, with nothing run": (lambda f: f.recover("w3a8", "seq_mse", layers="fc*"), r"no layer matches 'fc\*'"),
    "iterations": (lambda f: f.recover("w4a8", "adaround", iterations=-5), "iterations=-5"),
    "iterations as text": (lambda f: f.recover("w4a8", "adaround", iterations="5"), "iterations='5'"),
    "blocks": (lambda f: f.recover("w4a8", "adaround", blocks="yes"), "blocks='yes'.*True or False"),
    "seed": (lambda f: f.recover("w4a8", "adaround", seed=1.5), "seed=1.5"),
    "candidates": (lambda f: f.recover("w4a8", "seq_mse", candidates=1), "candidates=1"),
    "damping": (lambda f: f.recover("w4a8", "gptq", damping=0.0), "damping=0.0"),
    "alpha": (lambda f: f.recover("w4a8", "smooth", alpha=2), "alpha=2"),
    "alphas": (lambda f: f.recover("w4a8", "scale_search", grid=0), "grid=0"),
    "passes": (lambda f: f.recover("w4a8", "equalize", iterations=0), "iterations=0"),
    "epochs": (lambda f: f.recover("w4a8", "train", epochs=0), "epochs=0"),
    "optimizer": (lambda f: f.recover("w4a8", "train", optimizer="adm"), "optimizer='adm'.*a callable"),
    "optimizer of no kind": (lambda f: f.recover("w4a8", "train", optimizer=[]), r"optimizer=\[\]"),
    "schedule": (lambda f: f.recover("w4a8", "train", schedule="cosin"), "Did you mean 'cosine'"),
    "schedule of no kind": (lambda f: f.recover("w4a8", "train", schedule=[]), r"schedule=\[\]"),
    "distill": (lambda f: f.recover("w4a8", "train", distill="x"), "distill='x'"),
    "checkpoint": (lambda f: f.recover("w4a8", "train", checkpoint=3), "checkpoint=3"),
    "device": (lambda f: f.recover("w4a8", "train", device="nowhere"), "device='nowhere'"),
    "loader": (lambda f: f.recover("w3a8", "train", loader=iter([1]), steps=2), "one-shot"),
    "batches": (lambda f: f.recover("w3a8", "seq_mse", seq_mse={"batch": 1}), "unknown option batch=1"),
    "the second of two": (lambda f: f.recover("w4a8", ["seq_mse", "adaround"], batch_size=0), "batch_size=0"),
    "floats": (lambda f: f.recover("fp16", "adaround"), "integer"),
    "mixed: budget": (lambda f: f.recover("w4a8", "mixed_precision", budget=-1), "budget=-1"),
    "mixed: low budget": (lambda f: f.recover("w8a8", "mixed_precision", budget=1e-6), "below the lowest"),
    "mixed: candidate": (lambda f: f.recover("w8a8", "mixed_precision", candidates=["w8a8", "int4"]), "int4"),
    "mixed: target": (lambda f: f.recover("w8a8", "mixed_precision", candidates=["w8a8", "w3a8"]), "at w3a8"),
    "mixed: cost": (lambda f: f.recover("w8a8", "mixed_precision", cost="bop"), "Did you mean 'bops'"),
    "submit recover": (lambda f: f.submit(f.recover, "w4a8", "adaround", iteratons=3), "Did you mean iterations=3"),
    "submit recover's layers": (lambda f: f.submit(f.recover, "w4a8", "seq_mse", layers="fc*"), "no layer matches"),
    "submit recover's value": (lambda f: f.submit(f.recover, "w4a8", "seq_mse", candidates=0), "candidates=0"),
}
OTHERS = {
    "submit: option": (lambda f: f.submit(f.run, "w8a8", metod="mse"), r"Did you mean calibration_method='mse'\?"),
    "submit: percentile": (
        lambda f: f.submit(f.run, "w8a8", calibration_method="percentile", percentile=0),
        "50 to 100",
    ),
    "submit: layers": (lambda f: f.submit(f.run, "w8a8", layers={"linear*": "w4a8"}), "no layer matches"),
    "what_if: layer": (lambda f: f.what_if("w4a8").change("fc", "w8a8"), "no layer matches 'fc'"),
    "what_if: no layer": (lambda f: f.what_if("w4a8").change([], "w8a8"), "no layer"),
    "what_if: precision": (lambda f: f.what_if("w4a8").change("0", "int8"), "Did you mean 'w8a8'"),
    "what_if: target": (lambda f: f.what_if("w4a8").change("0", "w3a8"), "does not run"),
    "what_if: rule": (lambda f: f.what_if("w4a8").change("0", calibration_method="sqnrr"), "Did you mean 'sqnr'"),
    "sensitivity: method": (lambda f: f.sensitivity("w4a8", "fishr"), "Did you mean 'fisher'"),
    "sensitivity: option": (lambda f: f.sensitivity("w4a8", excutor=1), "Did you mean executor=1"),
    "sensitivity: option of another": (lambda f: f.sensitivity("w4a8", "sqnr", loss="softmax"), "leave loss= out"),
    "sensitivity: loss": (lambda f: f.sensitivity("w4a8", loss="softmx"), "loss='softmx'"),
    "sensitivity: layers": (lambda f: f.sensitivity("w4a8", layers="fc"), "no layer matches 'fc'"),
    "sensitivity: seed": (lambda f: f.sensitivity("w4a8", seed="0"), "seed='0'"),
    "sensitivity: run": (lambda f: f.sensitivity("w4a9"), r"no run 'w4a9'.*Did you mean 'w4a8'"),
    "front: option": (lambda f: f.search_mixed_precision("w8a8", candidate=["w8a8"]), "Did you mean candidates"),
    "front: budget": (lambda f: f.search_mixed_precision("w8a8", budget=0.5), "unknown option budget=0.5"),
    "front: candidate": (lambda f: f.search_mixed_precision("w8a8", candidates=["w8a8", "int4"]), "'int4'"),
    "front: one": (lambda f: f.search_mixed_precision("w8a8", candidates="w4a8"), "1 candidate"),
    "front: target": (lambda f: f.search_mixed_precision("w8a8", candidates=["w8a8", "w3a8"]), "at w3a8"),
    "front: cost": (lambda f: f.search_mixed_precision("w8a8", cost="weights_bytes"), "Did you mean 'weight_bytes'"),
    "front: sensitivity": (lambda f: f.search_mixed_precision("w8a8", sensitivity="sqnrr"), "Did you mean 'sqnr'"),
    "front: verify": (lambda f: f.search_mixed_precision("w8a8", verify=-1), "verify=-1"),
    "front: layers": (lambda f: f.search_mixed_precision("w8a8", layers="fc"), "no layer matches 'fc'"),
    "front: cache": (lambda f: f.search_mixed_precision("w8a8", cache="no/such/folder/x.json"), "folder"),
    "front: point": (lambda f: f.pareto_fronts["w8a8"].verify(1000), "point 1000"),
    "measure: repeats": (lambda f: f.measure(repeats=0), "repeats=0"),
    "measure: threads": (lambda f: f.measure(threads=-1), "threads=-1"),
    "measure: run": (lambda f: f.measure("w4a9"), "Did you mean 'w4a8'"),
    "layer": (lambda f: f.layer("w4a8", "1st"), "no layer matches '1st'"),
    "run": (lambda f: f["w8a9"], "Did you mean 'w8a8'"),
}
DEPLOY = {
    "runtime": ({"runtimes": "onnxruntim"}, "Did you mean 'onnxruntime'"),
    "no runtime": ({"runtimes": []}, "no runtime"),
    "soc": ({"soc": "sm8660"}, "Did you mean 'sm8650'"),
    "samples": ({"samples": 0}, "samples=0"),
    "samples as text": ({"samples": "4"}, "samples='4'"),
    "threads": ({"threads": -1}, "threads=-1"),
    "evaluate": ({"evaluate": "yes"}, "evaluate='yes'"),
    "integer_io": ({"integer_io": "no"}, "integer_io='no'"),
}
DIRECT = {
    "calibrate: rule": (lambda w: w.sim.calibrate(w.data, "mes"), "Did you mean 'mse'"),
    "calibrate: option": (lambda w: w.sim.calibrate(w.data, metod="mse"), "Did you mean method='mse'"),
    "calibrate: percentile": (lambda w: w.sim.calibrate(w.data, "percentile", percentile=101), "percentile=101"),
    "calibrate: layers": (lambda w: w.sim.calibrate(w.data, layers="fc"), "no layer matches 'fc'"),
    "calibrate: layers as a number": (lambda w: w.sim.calibrate(w.data, layers=3), "layers|no layer"),
    "sensitivity": (lambda w: qnb.sensitivity(w.sim, w.data, estimator="fishr"), "Did you mean 'fisher'"),
    "method: option": (lambda w: qnb.methods.adaround(w.sim, w.data, iteration=3), "Did you mean iterations=3"),
    "method: value": (lambda w: qnb.methods.adaround(w.sim, w.data, iterations=0), "iterations=0"),
    "method: layers": (lambda w: qnb.methods.gptq(w.sim, w.data, layers="fc"), "no layer matches 'fc'"),
}
CALLS = {
    f"{kind}, {name}": case
    for kind, cases in (("run", RUN), ("name", NAMES), ("recover", RECOVER), ("other", OTHERS))
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", CALLS)
def test_it_fails_before_any_work(world, case):
    call, says = CALLS[case]
    before, runs = world.work, dict(world.flow.runs)
    with pytest.raises(QnbError, match=says):
        call(world.flow)
    assert world.work == before and world.flow.runs == runs
    assert world.flow.job is None or not world.flow.job.running


@pytest.mark.parametrize("case", DIRECT)
def test_a_step_without_a_workflow_does_too(world, case):
    call, says = DIRECT[case]
    before = world.work
    with pytest.raises(QnbError, match=says):
        call(world)
    assert world.work == before and world.sim.calibrated


@pytest.mark.parametrize("case", DEPLOY)
def test_a_deployment_makes_no_folder_either(world, case, tmp_path):
    options, says = DEPLOY[case]
    before = world.work
    with pytest.raises(QnbError, match=says):
        world.flow.deploy("w8a8", tmp_path / "new", **options)
    assert world.work == before and not (tmp_path / "new").exists() and not world.flow.deployments


def test_what_if_keeps_no_run_under_the_references_name(world):
    trial = world.flow.what_if("w4a8").change("0", "w8a8")
    before, reference = world.work, world.flow["fp32"]
    for name in ("fp32", "w8a8", ""):
        with pytest.raises(QnbError, match=f"name={name!r}"):
            trial.keep(name)
    assert world.work == before and world.flow["fp32"] is reference


def test_a_workflow_refuses_a_rule_at_once():
    model, x = torch.nn.Linear(4, 2).eval(), [torch.randn(4, 4)]
    with pytest.raises(QnbError, match="Did you mean 'percentile'"):
        qnb.Workflow(model, x, lambda m: 1.0, calibration_method="percentil")
    with pytest.raises(QnbError, match="seed='x'"):
        qnb.Workflow(model, x, lambda m: 1.0, seed="x")


def test_names_that_may_be_given(world):
    flow = World().flow
    for name in ("w4a8", "W4A8", "w4a8 (mse)", "größe", "n" * 100):
        assert flow.run("w4a8", name=name).name == name and name in flow

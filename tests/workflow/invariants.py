"""What must be so of any workflow's next steps. Written from the runs alone, without the table that chooses them."""

import ast

from qnb.columns import CONTROL
from qnb.workflow.guidance import stages
from qnb.workflow.precisions import answers, bits, is_float
from qnb.workflow.verdict import FAIL, PASS

ORDERS = {"run": ["precision"], "recover": ["run", "methods"], "deploy": ["run", "folder"]}
"""Arguments without a name, of the calls that an advice carries as arguments too."""


def unsettled(flow):
    """The highest precision that fails or is unclear, where no run with as few bits or fewer passes; FP16 only until
    integers were run. The baseline counts where all its layers are W16A16."""
    runs = [r for r in flow.runs.values() if r.name != "fp32"]
    passing = [r.precision for r in runs if r.verdict.status == PASS]
    own = [r for r in runs if r.precision != CONTROL or not r.settings.get("layers")]
    integers = [r.precision for r in own if not is_float(r.precision)]
    found = {p for p in (integers or [r.precision for r in own]) if not any(answers(q, p) for q in passing)}
    return max(found, key=lambda p: (bits(p), is_float(p)), default=None)


def below(precision, other):
    """Fewer bits in one half, and not more in the other."""
    pairs = list(zip(bits(precision), bits(other), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def failing_control(flow):
    runs = [r for r in flow.runs.values() if stages.is_control(r)]
    return bool(runs) and all(r.verdict.status == FAIL for r in runs)


def proposed_precision(flow, advice):
    """The precision that an advice works on; None where it looks, or asks a person."""
    if advice.run:
        return advice.run["precision"]
    if advice.recover:
        return flow.runs[advice.recover["run"]].precision
    return None


def check_code(flow, advice):
    """It parses, calls something that there is, with names that there are."""
    if not advice.code:
        return
    tree = ast.parse(advice.code)
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    for call in calls:
        assert callable(getattr(flow, call.func.attr)), advice.code
        given = [ast.literal_eval(a) for a in call.args]
        if call.func.attr in ("layer", "recover", "deploy", "deploy_panel", "compare", "diagnose"):
            assert given[0] in flow.runs, advice.code
        if call.func.attr == "layer":
            assert given[1] in set(flow.runs[given[0]].comparison.layer)
        named = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
        if keys := ORDERS.get(call.func.attr):
            assert getattr(advice, call.func.attr) == dict(zip(keys, given, strict=True)) | named
    for name in (n.slice.value for n in ast.walk(tree) if isinstance(n, ast.Subscript)):
        assert name in flow.deployments


def check_new(flow, advice):
    """What is there already is not proposed."""
    runs = flow.runs
    if advice.run:
        order, layers = advice.run, advice.run.get("layers", {})
        default = order["precision"] + (f"+{len(layers)}" if layers else "")
        assert order.get("name", default) not in runs, "it would replace a run"
        same = [
            r
            for r in runs.values()
            if r.precision == order["precision"]
            and r.settings.get("layers", {}) == layers
            and not r.settings.get("recover")
        ]
        assert not same or (
            order.get("calibration_method") == "minmax"
            and all(r.settings["calibration_method"] != "minmax" for r in same)
        )
    if advice.recover:
        base, method = runs[advice.recover["run"]], advice.recover["methods"]
        assert f"{base.name}+{method}" not in runs
        tried = [r for r in runs.values() if r.precision == base.precision and r.attempts is not None]
        assert method != "auto" or not tried
        done = {
            s["method"] for r in runs.values() if r.precision == base.precision for s in r.settings.get("recover", ())
        }
        assert method not in done
        assert flow.proposal is None or flow.proposal.name != f"{base.name}+{method}"
    if advice.deploy:
        assert advice.deploy["run"] not in flow.deployments
    assert ".diagnose(" not in advice.code or ast.parse(advice.code).body[0].value.args[0].value not in flow.diagnoses


def check(flow):
    """All that must be so of any workflow's advice."""
    said = flow.next_steps()
    assert said and said == flow.next_steps(), "there is something, and twice the same"
    assert len({(a.title, a.reason) for a in said}) == len(said)
    for advice in said:
        assert advice.title and advice.reason and "nan" not in advice.reason.split()
        names = (*flow.runs, *([flow.proposal.name] if flow.proposal else ()))
        assert not advice.reason[0].islower() or advice.reason.startswith(names), "a sentence, or a run's name"
        check_code(flow, advice)
        check_new(flow, advice)
        if advice.deploy:
            assert flow.runs[advice.deploy["run"]].verdict.status == PASS
    if (flow.check_result is not None and not flow.check_result.ok) or flow.check_result is None and len(flow.runs) < 2:
        assert [a.code for a in said] == ["flow.check()"]
        return said
    if failing_control(flow):
        assert all("W16A16 baseline first" in a.title for a in said)
        assert all(a.run is None or a.run["precision"] == CONTROL for a in said)
        assert not any(a.recover or a.deploy for a in said)
        return said
    if flow.proposal is not None:
        assert said[-1].code == "flow.discard()"
        return said
    step = unsettled(flow)
    for advice in said:
        precision = proposed_precision(flow, advice)
        assert step is None or precision is None or not below(precision, step), f"{advice.code} before {step}"
    deploys = [a.deploy["run"] for a in said if a.deploy]
    best = stages.best(flow)
    failed = {name for name, found in flow.deployments.items() if found.failure}
    assert len(deploys) <= 1 and (best is None or best.name in failed or deploys in ([], [best.name]))
    if best is not None:
        shown = [a for a in said if "deploy" in a.code and not (best.name in failed and a.title.endswith("instead"))]
        assert len(shown) == 1, "the best run's way to the target is always among what is said"
        check_failed(said, best.name, failed)
    return said


def check_failed(said, best, failed):
    """Whatever the target refuses or computes otherwise is not taken to the device."""
    assert not failed & {a.deploy["run"] for a in said if a.deploy}
    assert not any(f'deployments["{name}"].commands' in a.code for a in said for name in failed)
    if best in failed:
        assert said[0].title.startswith("Do not ship") and "not deployed" in said[0].reason

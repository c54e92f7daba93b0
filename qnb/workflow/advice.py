"""What to do next, from the workflow's own numbers. The order of steps is AIMET's quantization workflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qnb.html import decibel, size
from qnb.workflow import ladder
from qnb.workflow.verdict import AGREES_DB, FAIL, OK, UNDECIDED

FOLDER = "deploy"
"""Where files go unless one says otherwise."""
LADDER = ("fp16", "w16a16", "w8a16", "w8a8", "w4a8")


@dataclass(frozen=True)
class Advice:
    """``what`` to do, ``why`` (with numbers), and the ``code`` that does it.

    ``run`` holds the arguments of `Workflow.run` where the code is such a call, ``recover`` those of
    `Workflow.recover`, ``deploy`` those of `Workflow.deploy`.
    """

    what: str
    why: str
    code: str = ""
    run: dict[str, Any] | None = None
    deploy: dict[str, Any] | None = None
    recover: dict[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" + (f"\n    {self.code}" if self.code else "")


def run_code(variable: str, arguments: dict[str, Any]) -> str:
    """The call of `Workflow.run` with these arguments.

    >>> run_code("flow", {"precision": "w4a8", "layers": {"stem": "w8a8"}})
    'flow.run("w4a8", layers={"stem": "w8a8"})'
    """
    rest = "".join(f", {k}={json.dumps(v, ensure_ascii=False)}" for k, v in arguments.items() if k != "precision")
    return f"{variable}.run({json.dumps(arguments['precision'])}{rest})"


def recover_code(variable: str, name: str, methods: Sequence[str], options: Mapping[str, Any] | None = None) -> str:
    """The call of `Workflow.recover` with these arguments.

    >>> recover_code("flow", "w4a8", ("equalize", "adaround"), {"iterations": 500})
    'flow.recover("w4a8", ["equalize", "adaround"], iterations=500)'
    """
    said = json.dumps(methods[0] if len(methods) == 1 else list(methods))
    rest = "".join(f", {k}={getattr(v, '__name__', None) or repr(v)}" for k, v in (options or {}).items())
    return f"{variable}.recover({json.dumps(name, ensure_ascii=False)}, {said}{rest})"


def deploy_code(variable: str, arguments: dict[str, Any]) -> str:
    """The call of `Workflow.deploy` with these arguments.

    >>> deploy_code("flow", {"name": "w8a8", "folder": "deploy", "soc": "sm8550"})
    'flow.deploy("w8a8", "deploy", soc="sm8550")'
    """
    rest = {k: v for k, v in arguments.items() if k not in ("name", "folder")}
    named = "".join(f", {k}={json.dumps(v, ensure_ascii=False)}" for k, v in rest.items())
    name, folder = (json.dumps(arguments[k], ensure_ascii=False) for k in ("name", "folder"))
    return f"{variable}.deploy({name}, {folder}{named})"


def _run(flow, what: str, why: str, precision: str, **arguments) -> Advice:
    arguments = {"precision": precision, **arguments}
    return Advice(what, why, run_code(flow.variable, arguments), arguments)


def next_steps(flow) -> list[Advice]:
    """The most useful first; never empty."""
    if flow.checked is None and not flow.runs:
        return [Advice("Check the model", "before any numbers: does it export, and what is in it?",
                       f"{flow.variable}.check()")]  # fmt: skip
    return [*_control(flow), *_diagnosis(flow), *_ladder(flow)]


def _state(flow, name: str) -> str | None:
    return flow.runs[name].verdict.state if name in flow.runs else None


def _control(flow) -> list[Advice]:
    run = flow.runs.get("w16a16")
    if run is None or run.verdict.state == OK:
        return []
    layer, own_db = run.worst_layer
    return [Advice("Mend the control first",
                   f"W16A16 should equal FP32 and has {decibel(run.output_sqnr_db)} at the output (below "
                   f"{AGREES_DB:.0f} dB the placement or the model is at fault); {layer!r} itself gives "
                   f"{decibel(own_db)}",
                   f"{flow.variable}.layer('w16a16', {layer!r})")]  # fmt: skip


def _diagnosis(flow) -> list[Advice]:
    """Which half, weights or activations, costs the accuracy, and which layer."""
    found = []
    if _state(flow, "fp16") == OK and _state(flow, "w16a16") is None:
        found.append(Advice("Time FP16 on the target", "FP16 keeps the metric; if its latency is enough, stop here"))
    if _state(flow, "fp16") == FAIL and flow.runs["fp16"].overflowing:
        layers = ", ".join(flow.runs["fp16"].overflowing[:3])
        found.append(Advice("Keep FP16 out of these layers", f"values beyond 65,504 overflow in {layers}"))
    if _state(flow, "w8a16") == FAIL and _state(flow, "w16a16") == OK:
        found += _lost(flow, flow.runs["w8a16"], "W8A16 fails and W16A16 does not: the weights are sensitive")
    elif _state(flow, "w8a8") == FAIL and _state(flow, "w8a16") == OK:
        found += _lost(flow, flow.runs["w8a8"], "W8A8 fails and W8A16 does not: the activations are sensitive")
    elif _state(flow, "w4a8") == FAIL and _state(flow, "w8a8") in (OK, UNDECIDED):
        found += _lost(flow, flow.runs["w4a8"], "W4A8 fails and W8A8 does not: 4-bit weights cost the accuracy")
    return found


def _lost(flow, run, why: str) -> list[Advice]:
    """Get it back, unless that was done; else more bits for the layer that loses most."""
    recovered = [r for r in flow.runs.values() if r.settings.get("from") == run.name]
    if any(r.verdict.state == OK for r in recovered):
        return []
    layer, own_db = run.worst_layer
    higher = "w8a16" if run.name != "w8a16" else "w16a16"
    bits = _run(flow, "Look at the layer that loses most, then give it more bits",
                f"{why}; {layer!r} itself gives {decibel(own_db)}", run.name, layers={layer: higher})  # fmt: skip
    order = {"precision": run.name, "methods": "auto"}
    code = recover_code(flow.variable, run.name, ("auto",))
    recover = Advice("Get the accuracy back", f"{why}; techniques in rising effort, until it is within the tolerance",
                     code, recover=order)  # fmt: skip
    return [bits] if recovered else [recover, bits]


def _ladder(flow) -> list[Advice]:
    """The next lower precision, unless the last one failed."""
    states = {name: _state(flow, name) for name in LADDER}
    done = [name for name in LADDER if states[name] is not None]
    following = LADDER[LADDER.index(done[-1]) + 1 :] if done else LADDER
    if not following:
        return [_target(flow)]
    return [_run(flow, f"Run {following[0]}", _WHY[following[0]], following[0])]


def _target(flow) -> Advice:
    """The last step: the smallest run that will do, on the device."""
    best = ladder.best(flow) or ladder.smallest(flow.runs.values())
    lost = [run for run in flow.runs.values() if ladder.stage_of(run) == "reduce"]
    if best is None and lost and (found := _lost(flow, lost[-1], f"{lost[-1].name} {lost[-1].verdict.text}")):
        return found[0]
    if best is None:
        return Advice("Raise the tolerance or the bits", "no precision keeps the metric within the tolerance")
    if best.name not in flow.deployments:
        why = f"the smallest that keeps the metric: {size(best.size_bytes)}, {best.verdict.text}"
        order = {"name": best.name, "folder": FOLDER}
        return Advice(f"Take {best.name} to the target", why, deploy_code(flow.variable, order), deploy=order)
    state, found = ladder.on_target(flow.deployments[best.name], flow.tolerance)
    if state == OK:
        code = f"print({flow.variable}.deployments[{json.dumps(best.name, ensure_ascii=False)}].commands)"
        return Advice("Run it on the device", f"{found}; these commands take the files there", code)
    code = f"{flow.variable}.deploy_panel({json.dumps(best.name, ensure_ascii=False)})"
    return Advice("Look at what the runtime makes of it", found, code)


_WHY = {
    "fp16": "half the size without quantization; if its latency on the target is enough, you are done",
    "w16a16": "a control: 16-bit quantization must agree with FP32, or the simulation is wrong",
    "w8a16": "8-bit weights quarter the size; activations keep 16 bits",
    "w8a8": "8-bit activations are what integer units are fastest at",
    "w4a8": "4-bit weights halve the size again",
}

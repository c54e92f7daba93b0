"""Makes remedies for one run: more bits, other ranges, other calibration data, a recovery method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qnb.errors import QnbError
from qnb.methods import METHODS, check_order
from qnb.numerics import Grid, Precision
from qnb.sim.calibration import activation_encodings, guard_bias_overflow
from qnb.sim.limits import refuse_unsupported
from qnb.text import listed
from qnb.workflow.diagnosis.remedy import Remedy
from qnb.workflow.diagnosis.run_names import suffixes
from qnb.workflow.diagnosis.samples import without
from qnb.workflow.guidance.next_step import calibration_argument, literal, recover_code, run_code
from qnb.workflow.precisions import bits, nameable

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

WIDE = 16


def integer_bits(quantizer: Quantizer | None) -> int | None:
    """Of a quantizer that is on; None for one that is off or on a grid of floats."""
    on = quantizer is not None and quantizer.active and isinstance(quantizer.grid, Grid)
    return quantizer.grid.bits if on else None


class Remedies:
    """Args:
    flow, run: the workflow, and the run to be mended.
    batches: what recovery methods are tried with.
    """

    def __init__(self, flow: Workflow, run: Run, batches: Sequence):
        self.flow, self.run, self.batches = flow, run, batches

    def wider(self, layers: Iterable[str], removes: float, *, weights: bool = False) -> Remedy | None:
        """16 bits for some layers' outputs, or for their weights; None where they have them, or the target refuses.

        Args:
            removes: the share of the output's noise that these layers' outputs (or weights) add.
        """
        chosen = {layer: name for layer in layers if (name := self._wide(layer, weights)) is not None}
        what, does = ("weights", "weights wider") if weights else ("activations", "wider")
        found = self._changed(chosen, f"{WIDE}-bit {what}", removes, does)
        options = {"layers": list(chosen), "kind": "weight" if weights else "activation"}
        kept = all(self._keeps_other(layer, name, weights) for layer, name in chosen.items())
        return replace(found, method=("widen", options)) if found is not None and kept else found

    def per_channel(self, layers: Iterable[str], removes: float) -> Remedy | None:
        """A scale for each output channel of some layers' weights, at the same bits."""
        chosen = {layer: f"w{w}a{a}" for layer in layers if (w := self._bits(layer)[0]) and (a := self._bits(layer)[1])}
        return self._changed(chosen, "a scale for each output channel", removes, "per channel")

    def precision(self, layers: Iterable[str], name: str, removes: float, what: str) -> Remedy | None:
        """Another precision for some layers; None where the target does not run them so."""
        return self._changed({layer: name for layer in layers if self._runs(layer, name)}, what, removes, name)

    def _changed(self, chosen: dict[str, str], what: str, removes: float, does: str) -> Remedy | None:
        """Layers to the precision that they get; what that does, in a run's name."""
        if not chosen:
            return None
        kept = {k: v for k, v in self.run.settings.get("layers", {}).items() if k not in chosen}
        code, arguments = self._again(layers=kept | chosen, change=(list(chosen), "precision", chosen))
        apply = lambda sim: [sim.set_precision(layer, name) for layer, name in chosen.items()]  # noqa: E731
        title = self._then(f"{what} at {listed(list(chosen))}")
        return Remedy(title, code, apply, removes, run=arguments, suffixes=suffixes(chosen, does))

    def ranges(self, rule: str, removes: float, layers: Iterable[str] | None = None) -> Remedy | None:
        """Another calibration method, for all layers or for some; None where they have it."""
        named = None if layers is None else list(layers)
        usual = self.rule
        if (named is None and rule == usual) or not any(map(self._integer, self._keys(named))):
            return None
        methods = {**self.run.settings.get("calibration_methods", {})}
        if named is None:
            code, arguments = self._again(rule=rule)
        else:
            methods = {k: v for k, v in methods.items() if k not in named} | dict.fromkeys(named, rule)
            code, arguments = self._again(methods=methods, change=(named, "calibration_method", rule))
        where = "" if named is None else f" at {listed(named)}"
        title, endings = self._then(f"calibrate by {rule}{where}"), suffixes(named or (), rule)
        apply = lambda sim: self._by_rule(sim, rule, named)  # noqa: E731
        return Remedy(title, code, apply, removes, run=arguments, suffixes=endings)

    def calibrated_on(
        self, batches: Iterable, title: str, code: str, removes: float, judged_on: Iterable | None = None
    ) -> Remedy:
        """Other calibration data, which only the person who called can give the workflow."""
        options = self.run.settings.get("options", {})

        def apply(sim: QuantSim) -> None:
            sim.calibrate(batches, self.rule, **options)
            for pattern, rule in self.run.settings.get("calibration_methods", {}).items():
                sim.calibrate(batches, rule, layers=pattern)

        return Remedy(title, code, apply, removes, judged_on=judged_on)

    def leave_out(self, samples: Iterable[int], removes: float) -> Remedy:
        """Calibrate without some samples, and judge by the others."""
        numbers = sorted({*samples, *self.run.settings.get("leave_out", ())})
        code, arguments = self._again(leave_out=numbers)
        named = listed([str(n) for n in numbers], 6)
        title = f"leave {'sample' if len(numbers) == 1 else 'samples'} {named} out of the calibration"
        rest = without(self.flow.batches, numbers)
        found = self.calibrated_on(rest, self._then(title), code, removes, without(self.batches, numbers))
        return replace(found, run=arguments, suffixes=(f" without {len(numbers)}",))

    def method(self, name: str, title: str, removes: float, **options: Any) -> Remedy | None:
        """A recovery method; None where it does not suit the sim, or may not follow what the run has had."""
        sim = self.run.sim
        alone = METHODS[name].alone if name in METHODS else None
        if alone is None:  # of another package, and made by hand
            return None
        try:
            check_order([*sim.applied_methods, name], "flow.diagnose")
            METHODS[name].check(sim, batches=self.batches, **options)
        except QnbError:
            return None
        apply = lambda sim: alone(sim, batches=self.batches, **options)  # noqa: E731
        code = recover_code(self.flow.variable, self.run.name, (name,), options)
        arguments = {"run": self.run.name, "methods": name, **options}
        return Remedy(title, code, apply, removes, recover=arguments, method=(name, options))

    def change(self, title: str, code: str, apply: Any, removes: float) -> Remedy:
        """Any other change, with the line that a person runs."""
        return Remedy(title, code, apply, removes)

    @property
    def rule(self) -> str:
        """The run's own calibration method."""
        return self.run.settings.get("calibration_method") or self.flow.calibration_method

    @cached_property
    def histograms(self) -> QuantSim:
        """The run's sim calibrated anew with statistics that every rule can be read from; one pass over the data."""
        return self.run.sim.copy().calibrate(self.flow.batches, "mse")

    def _by_rule(self, sim: QuantSim, rule: str, layers: list[str] | None) -> None:
        """Give activations the ranges that a rule makes of all calibration data."""
        keys = {key for key in self._keys(layers) if self._integer(key)}
        for key in keys:
            quantizer = sim.activation(key)
            quantizer.statistics, quantizer.rule = self.histograms.activation(key).statistics, (rule, {})
        activation_encodings(sim, keys)
        guard_bias_overflow(sim)

    def _keys(self, layers: list[str] | None) -> set[str]:
        sim = self.run.sim
        return set(sim.plan.activations) if layers is None else sim.output_keys(set(layers))

    def _integer(self, key: str) -> bool:
        """Whether a quantizer's range is one that a rule may choose."""
        quantizer = self.run.sim.activation(key)
        return isinstance(quantizer.grid, Grid) and quantizer.fixed is None and not quantizer.frozen

    def _wide(self, layer: str, weights: bool) -> str | None:
        """The precision that gives a layer's output (or weights) 16 bits."""
        of_weights, of_outputs = self._bits(layer)
        if of_weights is None or of_outputs is None or (weights and not self.run.sim.plan.weights_of.get(layer)):
            return None
        if (of_weights if weights else of_outputs) >= WIDE:
            return None
        first = f"w{WIDE}a{of_outputs}" if weights else f"w{of_weights}a{WIDE}"
        names = dict.fromkeys((first, f"w{WIDE}a{WIDE}" if weights else f"w8a{WIDE}"))
        return next((name for name in names if self._runs(layer, name)), None)

    def _keeps_other(self, layer: str, name: str, weights: bool) -> bool:
        """Whether a precision that widens a layer's weights leaves its outputs their bits, or the other way round."""
        other = 1 if weights else 0
        return bits(name)[other] == self._bits(layer)[other]

    def _bits(self, layer: str) -> tuple[int | None, int | None]:
        """Of a layer's weights (the sim's where it has none) and of its output; None off integer grids."""
        sim, own = self.run.sim, self.run.sim.plan.weights_of.get(layer)
        usual = sim.precision.weights
        of_weights = integer_bits(sim.weight(own[0])) if own else usual.bits if isinstance(usual, Grid) else None
        key = next(iter(sim.output_keys({layer})), None)
        return of_weights, None if key is None else integer_bits(sim.activation(key))

    def _runs(self, layer: str, precision: str) -> bool:
        """Whether the target runs a layer at a precision."""
        try:
            refuse_unsupported(self.run.sim, [layer], Precision.parse(precision), "flow.diagnose")
        except QnbError:
            return False
        return True

    def _again(
        self,
        *,
        layers: Mapping[str, str] | None = None,
        rule: str | None = None,
        methods: Mapping[str, str] | None = None,
        leave_out: list[int] | None = None,
        change: tuple | None = None,
    ) -> tuple[str, dict[str, Any] | None]:
        """The run's own call with something changed, as code and as arguments; where its precision has no name that
        code could give, the same through `Workflow.what_if`."""
        kept, usual = self.run.settings, self.flow.calibration_method
        if not nameable(self.run.precision):
            return self._what_if(change), None
        found: dict[str, Any] = {"precision": self.run.precision}
        layers = kept.get("layers", {}) if layers is None else layers
        found |= {"layers": dict(layers)} if layers else {}
        methods = dict(kept.get("calibration_methods", {}) if methods is None else methods)
        found |= calibration_argument(rule or self.rule, methods, usual)
        left = kept.get("leave_out", []) if leave_out is None else leave_out
        found |= ({"leave_out": left} if left else {}) | ({} if rule else kept.get("options", {}))
        return run_code(self.flow.variable, found), found

    def _what_if(self, change: tuple | None) -> str:
        start = f"{self.flow.variable}.what_if({literal(self.run.name)})"
        if change is None:
            return f"{start}.panel()"
        layers, argument, value = change
        value = next(iter(value.values())) if isinstance(value, dict) else value
        return f"{start}.change({literal(layers)}, {argument}={literal(value)}).keep()"

    def _then(self, title: str) -> str:
        return f"{title}, then recover the run again" if self.run.recovery else title

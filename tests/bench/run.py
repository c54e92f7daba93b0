"""Print what DESIGN budgets, as ratios measured in one process: ``make bench``.

Each ratio interleaves its two sides and takes medians, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import nets
import torch

import qnb


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(a, b, rounds: int) -> tuple[float, float, float]:
    """Median of a/b over interleaved rounds, and both medians in ms."""
    a(), b()
    pairs = [(seconds(a), seconds(b)) for _ in range(rounds)]
    times_a, times_b = zip(*pairs, strict=True)
    return (
        statistics.median(x / y for x, y in pairs),
        statistics.median(times_a) * 1e3,
        statistics.median(times_b) * 1e3,
    )


def say(what: str, value: str, budget: str, ok: bool | None = None) -> None:
    mark = "" if ok is None else ("ok" if ok else "OVER")
    print(f"{what:<58} {value:>26}   {budget:<12} {mark}", flush=True)


def cases(batch: int):
    torch.manual_seed(0)
    yield "MobileNetV2 96x96", nets.mobilenet_v2(), torch.randn(batch, 3, 96, 96)
    yield "ResNet-20 32x32", nets.resnet20(), torch.randn(batch, 3, 32, 32)
    ids = torch.randint(0, 1000, (batch, 64))
    yield "BERT width 768, 4 layers, 64 tokens", nets.bert_base(), {"input_ids": ids}


def forward_and_compare(rounds: int) -> None:
    for name, model, example in cases(8):
        if not isinstance(example, dict):
            nets.warm_up_batch_norm(model, example)
        sim = qnb.QuantSim(model, example, "w8a8").calibrate([example])
        for batch in (8, 1):
            data = {k: v[:batch] for k, v in example.items()} if isinstance(example, dict) else example[:batch]
            flat = sim.flatten(data, "bench")
            reference, simulated = lambda f=flat: sim.reference(*f), lambda f=flat: sim.run_flat(f)
            with torch.no_grad():
                r, a, b = ratio(simulated, reference, rounds)
            limit = ("<= 1.3", r <= 1.3) if batch == 8 else ("reported", None)
            say(f"{name}: W8A8 / FP32 forward, batch {batch}", f"{r:.2f}  ({a:.0f} / {b:.0f} ms)", *limit)
        flat = sim.flatten(example, "bench")
        for own, budget in ((True, 2.5), (False, 1.8)):
            with torch.no_grad():
                r, a, b = ratio(
                    lambda o=own: qnb.compare_layers(sim, [example], own=o),
                    lambda f=flat: (sim.reference(*f), sim.run_flat(f)),
                    rounds,
                )
            what = f"{name}: compare_layers{'' if own else ' own=False'} / two forwards"
            say(what, f"{r:.2f}  ({a:.0f} / {b:.0f} ms)", f"<= {budget}", r <= budget)


def runs(rounds: int) -> None:
    """A run (calibrate, compare, evaluate by a constant) over one FP32 pass of the calibration data."""
    torch.manual_seed(0)
    model, batches = nets.resnet20(), [torch.randn(8, 3, 32, 32) for _ in range(24)]
    nets.warm_up_batch_norm(model, batches[0])
    flow = qnb.Workflow(model, batches, lambda model: 0.5)
    flow.run("fp32")
    module = flow.captured.module
    for rule, budget in (("minmax", 4), ("mse", 6)):
        with torch.no_grad():
            r, a, b = ratio(
                lambda rule=rule: flow.run("w8a8", calibration_method=rule, progress=lambda *_: None),
                lambda: [module(batch) for batch in batches],
                rounds,
            )
        what = f"ResNet-20: a run by {rule}, 24 batches / one FP32 pass"
        say(what, f"{r:.2f}  ({a:.0f} / {b:.0f} ms)", f"<= {budget}", r <= budget)


def creation() -> None:
    model, x = nets.resnet50(), torch.randn(2, 3, 96, 96)
    times = [seconds(lambda: qnb.QuantSim(model, x, "w8a8")) for _ in range(3)]
    say("ResNet-50: QuantSim creation", f"{statistics.median(times):.2f} s", "<= 3 s", statistics.median(times) <= 3)


def import_time() -> None:
    def run(code: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    run("import torch, qnb")
    pairs = [(run("import torch, qnb"), run("import torch")) for _ in range(5)]
    extra = statistics.median(a - b for a, b in pairs)
    say("import qnb over import torch", f"{extra:+.2f} s", "<= +0.3 s", extra <= 0.3)


def memory(count: int) -> None:
    """Peak resident memory of a fresh process that compares ``count`` batches (made one at a time)."""
    code = f"""
import sys; sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
import nets, qnb, resource, torch
torch.set_num_threads(1); torch.manual_seed(0)
class Batches:
    def __len__(self): return {count}
    def __iter__(self):
        for i in range({count}):
            yield torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(i))
sim = qnb.QuantSim(nets.resnet20(), torch.randn(8, 3, 32, 32), 'w8a8').calibrate(Batches(), 'sqnr')
qnb.compare_layers(sim, Batches())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, medians of {arguments.rounds} interleaved rounds")
    import_time()
    creation()
    forward_and_compare(arguments.rounds)
    runs(arguments.rounds)
    few, many = memory(4), memory(64)
    sizes = f"{many / few:.2f}  ({many:.0f} / {few:.0f} MB)"
    say("peak memory, 64 batches / 4 batches", sizes, "<= 1.1", many / few <= 1.1)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()

"""Fisher sensitivity against exact divergences and the metric: ``python -m tests.bench.sensitivity``.

Spearman correlations over all quantizers of a model: of fisher and of sqnr with the exact divergence, which has one
quantizer on at a time, in whole passes; of fisher and of the exact divergence with the metric's drop. Processor time in
forward-backward passes' worth (FP32, batch by batch, gradients of all parameters), and how much longer the others take.
"""

from __future__ import annotations

import statistics
import time

import pandas as pd
import torch
from scipy.stats import spearmanr

import qnb
from qnb.measures.sensitivity.trials import Trial
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules
from tests.bench import nets

PRECISIONS = ("w4a8", "w8a8", "w4a4")


def cases():
    """(name, model, batches, evaluate or None)."""
    demo = qnb.demo.digits()
    yield "digits CNN", demo.model, demo.calibration, demo.evaluate
    demo = qnb.demo.transformer()
    yield "digits transformer", demo.model, demo.calibration, demo.evaluate
    model, images = trained_resnet()
    yield "ResNet-20, trained on digits", model, images, None


def trained_resnet(steps: int = 60):
    """A ResNet-20 that has learnt something: divergences of random weights mean little."""
    from qnb.demo import data

    torch.manual_seed(0)
    split, model = data.load(), nets.resnet20().train()
    grow = lambda x: torch.nn.functional.interpolate(x, scale_factor=2).expand(-1, 3, -1, -1).contiguous()  # noqa: E731
    batches = [grow(x) for x in data.batches(split.train, 64)]
    labels = data.batches(split.train_labels, 64)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(steps):
        i = step % len(batches)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batches[i]), labels[i]).backward()
        optimizer.step()
    return model.eval(), batches[:4]


def exact(sim, batches) -> pd.DataFrame:
    """KL(FP32 || one quantizer alone) in nats, means over samples."""
    sites = {(layer, kind): module for layer, kind, module in reversed(list(sim.sites())) if kind != "bias"}
    paths = {module: path for path, module in quantizer_modules(sim).items()}
    off = sim.copy()
    for quantizer in off.quantizers():
        quantizer.enabled = False
    before = [logits(sim.reference_model, x).log_softmax(-1) for x in batches]
    rows = {}
    for (layer, kind), module in sites.items():
        if module.active and module not in rows:
            with Trial("", {paths[module]: QuantizerState.of(module).plain()}).applied(off):
                pairs = [(b, logits(off, x).log_softmax(-1)) for b, x in zip(before, batches, strict=True)]
            rows[module] = (layer, kind, float(torch.cat([(b.exp() * (b - a)).sum(-1) for b, a in pairs]).mean()))
    return pd.DataFrame(list(rows.values()), columns=["layer", "kind", "exact"])


@torch.no_grad()
def logits(model, batch):
    output = model(**batch) if isinstance(batch, dict) else model(batch)
    return getattr(output, "logits", output).double()


def forward_backward(model, batches) -> None:
    for batch in batches:
        output = model(**batch) if isinstance(batch, dict) else model(batch)
        getattr(output, "logits", output).logsumexp(-1).sum().backward()


def seconds(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def correlation(a: pd.DataFrame, b: pd.DataFrame, left: str, right: str) -> float:
    both = a.merge(b, on=["layer", "kind"], validate="one_to_one")
    return float(spearmanr(both[left], both[right])[0])


def main() -> None:
    torch.set_num_threads(1)
    print(
        f"{'model':<30}{'precision':<10}{'rows':>5}{'exact KL':>10}{'sqnr':>8}{'metric':>8}{'(exact)':>9}"
        f"{'passes':>8}{'exact/fisher':>14}{'sqnr/fisher':>13}"
    )
    for name, model, batches, evaluate in cases():
        for precision in PRECISIONS:
            sim = qnb.QuantSim(model, batches[0], precision).calibrate(batches)
            fisher = lambda: qnb.sensitivity(sim, batches)  # noqa: E731
            fisher(), forward_backward(model, batches)
            rounds = [(seconds(fisher), seconds(lambda: forward_backward(model, batches))) for _ in range(5)]
            frame, start = fisher(), time.process_time()
            divergence = exact(sim, batches)
            exact_s, start = time.process_time() - start, time.process_time()
            noise = qnb.sensitivity(sim, batches, estimator="sqnr")
            noise_s, metric, bound = time.process_time() - start, float("nan"), float("nan")
            if evaluate is not None and precision == "w4a4":
                drops = qnb.sensitivity(sim, estimator="evaluate", evaluate=evaluate)
                drops = drops.rename(columns={"score": "drop"})
                metric = correlation(frame, drops, "score", "drop")
                bound = correlation(divergence, drops, "exact", "drop")  # many drops are 0 on 540 images
            renamed = noise.rename(columns={"score": "noise"})
            print(
                f"{name:<30}{precision:<10}{len(frame):>5}{correlation(frame, divergence, 'score', 'exact'):>10.3f}"
                f"{correlation(renamed, divergence, 'noise', 'exact'):>8.3f}{metric:>8.3f}{bound:>9.3f}"
                f"{statistics.median(a / b for a, b in rounds):>8.2f}"
                f"{exact_s / statistics.median(a for a, _ in rounds):>14.1f}"
                f"{noise_s / statistics.median(a for a, _ in rounds):>13.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

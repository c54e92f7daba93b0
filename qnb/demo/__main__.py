"""The workflow without a browser: ``python -m qnb.demo``."""

from __future__ import annotations

import time

from qnb.demo import digits

STEPS = ("fp16", "w16a16", "w8a16", "w8a8", "w4a8")


def main() -> int:
    from qnb.workflow import Workflow

    start = time.monotonic()
    demo = digits()
    print(f"{demo.description}\n")
    flow = Workflow(demo.model, demo.calibration, demo.evaluate, tolerance=0.01, target="htp-v75")
    print(flow.check(), "\n")
    for precision in STEPS:
        print(flow.run(precision), "\n")
    print(flow, "\n")
    print(flow.compare("w4a8").table[["layer", "op", "sqnr_db", "own_sqnr_db"]].round(1).to_string(index=False))
    print(f"\n{time.monotonic() - start:.0f} s. The same with charts: make lab")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

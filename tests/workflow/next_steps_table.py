"""The table of `docs/next-steps.md`: usual situations and what is said first. Writes it where it is run:

python -m tests.workflow.next_steps_table
"""

from pathlib import Path

from tests.workflow.stubs import CLOSE, SEPARATE, deployed, stub_flow, stub_run

PAGE = Path(__file__).parents[2] / "docs" / "next-steps.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
DOWN = ("fp16", "w16a16", "w8a16", "w8a8", "w4a8")


def passing(*names):
    return [stub_run(name, "pass") for name in names]


def auto(base, state, **more):
    return stub_run(f"{base}+auto", state, base, base=base, auto=True, tried="equalize + adaround", **more)


def proposed():
    flow = stub_flow(*passing(*DOWN[:4]), stub_run("w4a8", "fail"))
    flow.proposal = auto("w4a8", "pass")
    return flow


SITUATIONS = {
    "Nothing was done": lambda: stub_flow(checked=None),
    "The check found a fault": lambda: stub_flow(checked="fail"),
    "Checked": lambda: stub_flow(),
    "FP16 passes": lambda: stub_flow(*passing("fp16")),
    "FP16 passes, and its deployment agrees": lambda: deployed(stub_flow(*passing("fp16")), "fp16"),
    "FP16 fails, a layer overflows": lambda: stub_flow(stub_run("fp16", "fail", overflow=["stem.conv"])),
    "W16A16 fails at the output": lambda: stub_flow(*passing("fp16"), stub_run("w16a16", "fail", db=31.0)),
    "W16A16 agrees at the output, its metric fails": lambda: stub_flow(
        *passing("fp16"), stub_run("w16a16", "fail", db=73.7)
    ),
    "W16A16 is unclear": lambda: stub_flow(*passing("fp16"), stub_run("w16a16", "unclear")),
    "FP16 and W16A16 pass": lambda: stub_flow(*passing("fp16", "w16a16")),
    "W8A16 is unclear, W8A8 fails": lambda: stub_flow(
        *passing("fp16", "w16a16"), stub_run("w8a16", "unclear"), stub_run("w8a8", "fail")
    ),
    "W8A16 is unclear, without per-sample values": lambda: stub_flow(
        *passing("fp16", "w16a16"), stub_run("w8a16", "unclear", samples=SEPARATE)
    ),
    "W8A16 is too close to call": lambda: stub_flow(
        *passing("fp16", "w16a16"), stub_run("w8a16", "unclear", drop=CLOSE)
    ),
    "W8A16 fails": lambda: stub_flow(*passing("fp16", "w16a16"), stub_run("w8a16", "fail")),
    "Only W8A8 was run, and fails": lambda: stub_flow(stub_run("w8a8", "fail")),
    "All pass down to W8A16, W8A8 fails": lambda: stub_flow(*passing(*DOWN[:3]), stub_run("w8a8", "fail")),
    "All pass down to W8A8": lambda: stub_flow(*passing(*DOWN[:4])),
    "All pass down to W8A8, W4A8 fails": lambda: stub_flow(*passing(*DOWN[:4]), stub_run("w4a8", "fail")),
    "The same, and a recovery waits to be kept": proposed,
    "The same, and recovery did not help": lambda: stub_flow(
        *passing(*DOWN[:4]), stub_run("w4a8", "fail"), auto("w4a8", "fail")
    ),
    "The same, and recovery helped": lambda: stub_flow(
        *passing(*DOWN[:4]), stub_run("w4a8", "fail"), auto("w4a8", "pass")
    ),
    "All pass down to W4A8": lambda: stub_flow(*passing(*DOWN)),
    "W4A8 was deployed, and agrees": lambda: deployed(stub_flow(*passing(*DOWN)), "w4a8"),
    "W4A8 was deployed, and its metric differs": lambda: deployed(stub_flow(*passing(*DOWN)), "w4a8", "differs"),
    "W4A8 was deployed, and disagrees with the simulation": lambda: deployed(
        stub_flow(*passing(*DOWN)), "w4a8", "disagrees"
    ),
    "The same, and W8A8 was deployed instead": lambda: deployed(
        deployed(stub_flow(*passing(*DOWN)), "w4a8", "disagrees"), "w8a8"
    ),
    "W4A8 was deployed, and the target refuses it": lambda: deployed(stub_flow(*passing(*DOWN)), "w4a8", "refused"),
}


def table() -> str:
    rows = ["| when | first | else |", "|---|---|---|"]
    for when, flow in SITUATIONS.items():
        said = [*map(cell, flow().next_steps()[:2]), ""]
        rows.append(f"| {when} | {said[0]} | {said[1]} |")
    return "\n".join(rows) + "\n"


def cell(advice) -> str:
    return advice.title + (f"<br>`{advice.code}`" if advice.code else "")


def page(text: str) -> str:
    """The page with its table as it is now."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""The command line: ``qnb lab`` opens the tutorial, ``qnb doctor`` checks an installation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from qnb import __version__
from qnb.errors import QnbError

DESCRIPTION = "The quantization workbench for Jupyter."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 for what went wrong, 2 for a misspelt command.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    >>> main([]) == 0  # shows the help
    usage: qnb ...
    True
    """
    given = list(sys.argv[1:] if argv is None else argv)
    # What stands behind -- is JupyterLab's, whatever it looks like.
    cut = given.index("--") if "--" in given else len(given)
    ours, passed_on = given[:cut], given[cut + 1 :]
    parser = _parser()
    said = parser.parse_args(ours)
    if said.command is None:
        parser.print_help()
        return 0
    if passed_on and said.command != "lab":
        parser.error(f"qnb {said.command} takes no arguments after --")
    try:
        return _lab(said, passed_on) if said.command == "lab" else _doctor(said)
    except QnbError as error:
        print(f"qnb: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("qnb", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"qnb {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    lab = commands.add_parser(
        "lab",
        help="open JupyterLab on the tutorial notebooks",
        usage="qnb lab [-h] [FOLDER] [-- JUPYTER ARGUMENTS]",
        description="Open JupyterLab on the tutorial notebooks. They are copied to FOLDER first; notebooks that "
        "exist there are kept. Arguments after -- go to `jupyter lab`, for example: qnb lab -- --no-browser",
    )
    where = "where the notebooks go (default: ./qnb-notebooks; in a checkout: its notebooks)"
    lab.add_argument("folder", nargs="?", metavar="FOLDER", help=where)
    what = "Check the installation: one line per check, and what to do about it. Exit status 1 if one fails."
    doctor = commands.add_parser("doctor", help="check the installation", description=what)
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


def _lab(said: argparse.Namespace, passed_on: list[str]) -> int:
    from qnb.cli.lab import lab

    return lab(said.folder, passed_on)


def _doctor(said: argparse.Namespace) -> int:
    from qnb.cli.doctor import doctor

    return doctor(as_json=said.json)

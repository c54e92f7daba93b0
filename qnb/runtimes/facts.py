"""What is known of a runtime before it has a file, and the registry of all runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from qnb.errors import InputError
from qnb.registry import Registry

if TYPE_CHECKING:
    from qnb.runtimes.runtime import Runtime
    from qnb.runtimes.soc import Soc
    from qnb.sim import QuantSim
    from qnb.targets import Target


class RuntimeFacts:
    """Base of `qnb.runtimes.Runtime`: all that deploying asks of a runtime's class."""

    name: ClassVar[str] = "runtime"
    """Its key in `RUNTIMES`, in results and in files."""
    title: ClassVar[str] = "runtime"
    """What sentences call it."""
    home: ClassVar[str] = "CPU"
    """Provider of the nodes that run where they should; `placement` names others for those that fell back."""
    exact: ClassVar[str] = ""
    """Whose integer rules it computes by, a name in `qnb.sim.exact.KERNELS`; "" where they are not known."""
    exact_float_io: ClassVar[bool] = True
    """Whether these hold for a file with float inputs and outputs too, not for one of integer codes only."""
    file: ClassVar[str] = "model"
    """The file of a deployment that it opens: ``"model"``, with an open batch, or ``"static"``, with a batch of 1."""
    compiles: ClassVar[bool] = False
    """Whether ``compile(path)`` writes a context binary, what a device loads, beside the ONNX file at path."""
    device: ClassVar[bool] = False
    """Whether it is what a target stands for, so that the target's limits are its own."""
    rank: ClassVar[int] = 0
    """Of several that a run was deployed to, the one with the highest is the primary runtime."""

    @classmethod
    def available(cls) -> str | None:
        """None where it can run here, else the reason why not."""
        return None

    @classmethod
    def suits(cls, target: Target) -> bool:
        """Whether what is made for this target is run on it, unless others are asked for."""
        return True

    @classmethod
    def emulated(cls) -> bool:
        """Whether a device's arithmetic is imitated here: slowly, with latencies that do not predict the device's."""
        return False

    @classmethod
    def untimed(cls, sim: QuantSim) -> str:
        """Why the latency of this simulation's file here would mislead; empty where it is measured."""
        return "an emulator's latency does not predict a device's" if cls.emulated() else ""

    @classmethod
    def title_for(cls, soc: Soc) -> str:
        """Its title with the SoC, where it runs for one."""
        return cls.title

    @classmethod
    def open(cls, path: Path, soc: Soc, threads: int | None) -> Self:
        """A deployment's file, loaded.

        Args:
            path: of the file that `file` names.
            soc, threads: as they were asked for.
        """
        return cls(path, threads=threads).load()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]


RUNTIMES: Registry[type[Runtime]] = Registry("runtime", of=type, group="qnb.runtimes")
"""By name."""
R = TypeVar("R", bound="type[Runtime]")


def register(runtime: R) -> R:
    """Makes a class known under its ``name``: `Workflow.deploy` runs files on it.

    >>> RUNTIMES["onnxruntime"].title
    'ONNX Runtime, CPU'
    """
    if not issubclass(runtime, RuntimeFacts) or runtime.name == RuntimeFacts.name:
        raise InputError("register a runtime", runtime.__name__, "give a subclass of qnb.runtimes.Runtime with a name")
    return RUNTIMES.add(runtime.name, runtime)  # pyright: ignore[reportArgumentType]

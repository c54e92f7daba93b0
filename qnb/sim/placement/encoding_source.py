"""Where each value's encoding comes from: which quantizer, and times which positive scalar."""

from __future__ import annotations

from torch import fx

from qnb.graph import ops


class Sources:
    """Encoding of every node as (quantizer key, factor), and which keys share one quantizer (union-find)."""

    def __init__(self):
        self._of: dict[fx.Node, tuple[str, float]] = {}
        self._leader: dict[str, str] = {}

    def start(self, node: fx.Node, key: str) -> None:
        """``node`` is quantized by ``key``."""
        self._of[node] = (key, 1.0)
        self._leader[key] = key

    def follow(self, node: fx.Node, source: fx.Node, factor: float = 1.0) -> None:
        """``node`` has the encoding of ``source``, scaled."""
        if isinstance(source, fx.Node) and source in self._of:
            key, before = self._of[source]
            self._of[node] = (key, before * factor)

    def tie(self, first: fx.Node, other: fx.Node) -> None:
        a, b = self.leader(self._of[first][0]), self.leader(self._of[other][0])
        self._leader[b] = a

    def key(self, node: fx.Node) -> str | None:
        return self.leader(self._of[node][0]) if node in self._of else None

    def factor(self, node: fx.Node) -> float:
        return self._of[node][1] if node in self._of else 1.0

    def leader(self, key: str) -> str:
        while self._leader[key] != key:
            key = self._leader[key]
        return key


def scalar_factor(node: fx.Node) -> tuple[fx.Node, float] | None:
    """``(x, c)`` if the node is ``x * c`` or ``x / c`` with one positive number ``c``: no new grid is needed."""
    op = ops.name(node)
    if op not in ("mul", "div") or len(node.args) != 2 or node.kwargs.get("rounding_mode"):
        return None
    values = [_scalar(arg) for arg in node.args]
    if op == "mul" and values[0] is not None and values[1] is None:
        x, c = node.args[1], values[0]
    elif values[1] is not None and values[0] is None:
        x, c = node.args[0], values[1]
    else:
        return None
    if not isinstance(x, fx.Node) or not c > 0:
        return None
    return x, (c if op == "mul" else 1.0 / c)


def _scalar(arg) -> float | None:
    if isinstance(arg, (int, float)):
        return float(arg)
    if isinstance(arg, fx.Node) and arg.op == "get_attr":
        tensor = arg.meta.get("tensor")
        if tensor is not None and tensor.numel() == 1:
            return float(tensor)
    return None

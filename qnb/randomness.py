"""Random numbers that come from a seed, and leave the caller's generators alone.

torch's default generator belongs to the whole process: whoever seeds it while a step runs in a thread changes what a
notebook's next cell draws. qnb's own choices come from a `torch.Generator` of their own. The user's code that a step
calls (a loader that shuffles, an evaluation that draws samples) draws without naming one; inside `seeded` what it draws
through torch comes from the seed too, in this thread only, so that a step gives the same numbers again. NumPy's and
Python's own generators cannot be told apart by thread: they are not seeded, only left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWN = {
    torch.rand,
    torch.randn,
    torch.randint,
    torch.randperm,
    torch.normal,
    torch.bernoulli,
    torch.multinomial,
    torch.poisson,
    torch.rand_like,
    torch.randn_like,
    torch.randint_like,
    *(
        getattr(torch.Tensor, name)
        for name in (
            "random_",
            "uniform_",
            "normal_",
            "bernoulli",
            "bernoulli_",
            "exponential_",
            "geometric_",
            "cauchy_",
            "log_normal_",
            "multinomial",
        )
    ),
    *(
        getattr(torch.nn.init, name)
        for name in (
            "uniform_",
            "normal_",
            "trunc_normal_",
            "xavier_uniform_",
            "xavier_normal_",
            "kaiming_uniform_",
            "kaiming_normal_",
            "orthogonal_",
            "sparse_",
        )
    ),
}
"""What takes ``generator=``, initial weights too. Dropout takes none; models are evaluated without it."""


class _Entered(threading.local):
    depth = 0


_entered = _Entered()


class Draws(TorchFunctionMode):
    """While it is entered, what this thread draws through torch comes from a generator per device.

    >>> before = torch.get_rng_state()
    >>> draws = Draws(0)
    >>> with draws:
    ...     first = torch.randperm(1000)
    >>> with draws:
    ...     bool((torch.randperm(1000) == first).all())
    False
    >>> with Draws(0):
    ...     bool((torch.randperm(1000) == first).all())
    True
    >>> bool((torch.get_rng_state() == before).all())
    True
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed, self.generators = seed, {}

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """This seed's generator on a device; it goes on from where it was."""
        device = torch.device(device)
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]

    def __enter__(self):
        _entered.depth += 1
        return super().__enter__()

    def __exit__(self, *error):
        _entered.depth -= 1
        return super().__exit__(*error)

    def __torch_function__(self, function: Callable, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in _DRAWN and kwargs.get("generator") is None:
            kwargs = {**kwargs, "generator": self.generator(_device(args, kwargs))}
        return function(*args, **kwargs)


def _device(args: tuple, kwargs: dict) -> torch.device | str:
    """Where the numbers are wanted."""
    tensor = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)), None)
    return kwargs.get("device") or (tensor.device if tensor is not None else torch.get_default_device())


@contextmanager
def unwatched() -> Iterator[None]:
    """Inside, no `Draws` looks at torch's functions: for a forward pass, which draws nothing and calls many."""
    if _entered.depth:
        with torch._C.DisableTorchFunction():
            yield
    else:
        yield


class Seeded:
    """Batches whose loader draws from a seed: every pass over them gives them in the same order.

    >>> from torch.utils.data import DataLoader
    >>> batches = Seeded(DataLoader(torch.arange(100.0), shuffle=True), 0)
    >>> list(batches) == list(batches)
    True
    """

    def __init__(self, batches: Iterable, seed: int):
        self.batches, self.seed = batches, seed

    def __iter__(self) -> Iterator[Any]:
        return drawn(self.batches, Draws(self.seed))

    def __len__(self) -> int:
        return len(self.batches)  # pyright: ignore[reportArgumentType]


def drawn(batches: Iterable, draws: Draws) -> Iterator[Any]:
    """One pass over batches whose loader draws from ``draws``, which is entered only while it is asked."""
    with draws:
        source = iter(batches)
    nothing = object()
    while True:
        with draws:
            batch = next(source, nothing)
        if batch is nothing:
            return
        yield batch

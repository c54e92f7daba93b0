"""Other settings of a sim's quantizers, tried out with the user's metric: here, or by any executor's workers.

Captured modules do not pickle, so workers get a saved sim's bytes.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from typing import Any

import torch

from qnb.arguments import short
from qnb.errors import EvaluateError, InputError, QnbError
from qnb.measures.metrics.evaluation import score_of
from qnb.measures.metrics.score import Score
from qnb.measures.sensitivity.trial import Trial as Trial
from qnb.measures.sensitivity.trial import check_plain
from qnb.progress import Report
from qnb.sim import QuantSim, storage

CHUNKS = 16
"""The sim's bytes are sent at most so many times; more workers than this would have nothing to do."""
WAIT = 0.1
"""Seconds between two calls of ``progress`` while workers work."""
_OPERATION = "evaluate_trials"
_ONE_AT_A_TIME = threading.Lock()
"""The number of threads belongs to a process, so of a worker's threads one works at a time."""


def evaluate_trials(
    sim: QuantSim,
    trials: Iterable[Trial],
    evaluate: Callable,
    *,
    executor: Executor | None = None,
    seed: int = 0,
    message: str = "evaluating",
    progress: Report | None = None,
) -> list[Score]:
    """The metric of a sim with each trial's settings, in order; the sim is not changed.

    Each trial starts from the same seed. Workers get the sim's bytes, the caller's number of threads, and several
    trials at once; what they return is bit for bit what the same machine finds without them.

    Args:
        sim: a calibrated QuantSim.
        trials: `Trial.between(sim, changed)`; an empty one is the sim itself.
        evaluate: ``evaluate(model) -> float`` or `qnb.Score`.
        executor: any ``concurrent.futures.Executor``: ``dask_client.get_executor()``, ipyparallel's
            ``view.executor``, or ``ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))``.
        seed: of what evaluate draws through torch.
        message: what progress says.
        progress: ``progress(done, total, message)``; what it raises stops the work, with no trial begun after it.

    Raises:
        InputError: an exact simulation, or an evaluation function that cannot be sent to workers.
        EvaluateError: evaluate raised, here or in a worker, or a worker died.

    >>> import torch, qnb
    >>> sim = qnb.QuantSim(torch.nn.Linear(4, 2).eval(), torch.ones(2, 4), "w8a8").calibrate([torch.ones(2, 4)])
    >>> weights_only = Trial.between(sim, sim.copy().disable(kind="activation"), "weights only")
    >>> size = lambda model: float(model(torch.ones(2, 4)).numel())
    >>> evaluate_trials(sim, [weights_only], size)
    [4]
    """
    check_plain(sim, _OPERATION)
    trials, report = list(trials), progress or (lambda *_: None)
    if not trials:
        return []
    if executor is None:
        return list(_serial(sim.copy(), trials, evaluate, seed, lambda done: report(done, len(trials), message)))
    return _shared_out(sim, trials, evaluate, executor, seed, lambda done: report(done, len(trials), message))


def check_executor(executor: object, operation: str) -> None:
    """Whether workers can be asked through it, where it is not None."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise InputError(operation, f"executor={short(executor)}", "pass a concurrent.futures.Executor, or None")


def _serial(
    sim: QuantSim, trials: Sequence[Trial], evaluate: Callable, seed: int, tick: Callable[[int], None]
) -> Iterator[Score]:
    """One after the other; ``tick(done)`` before each forward pass."""
    for done, trial in enumerate(trials):
        tick(done)
        with trial.applied(sim):
            yield score_of(evaluate, sim, trial.name, lambda _, done=done: tick(done), seed)
    tick(len(trials))


def _shared_out(
    sim: QuantSim, trials: list[Trial], evaluate: Callable, executor: Executor, seed: int, tick: Callable[[int], None]
) -> list[Score]:
    """By the workers of an executor, some trials at a time."""
    setting = {
        "sim": storage.dumps(sim),
        "evaluate": _evaluate_bytes(evaluate),
        "device": str(sim.device or "cpu"),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    size = -(-len(trials) // CHUNKS)
    chunks = [trials[i : i + size] for i in range(0, len(trials), size)]
    futures: list[Future] = []
    try:
        futures += [executor.submit(evaluate_chunk, setting, chunk) for chunk in chunks]
        waiting, done = set(futures), 0
        while waiting:
            tick(done)
            finished, waiting = wait(waiting, timeout=WAIT, return_when=FIRST_COMPLETED)
            done += sum(len(_scores(future)) for future in finished)
        tick(done)
        return [score for future in futures for score in _scores(future)]
    finally:
        for future in futures:
            future.cancel()


def _scores(finished: Future) -> list[Score]:
    """What a worker found; the errors of evaluate itself come as they were raised."""
    try:
        return finished.result()
    except QnbError:
        raise
    except (Exception, CancelledError) as error:
        raise EvaluateError(
            _OPERATION,
            f"a worker that failed ({type(error).__name__}: {error})",
            "look at its log: out of memory, another version of qnb, or a script that starts workers "
            "outside `if __name__ == '__main__':`",
        ) from error


def evaluate_chunk(setting: Mapping[str, Any], trials: Sequence[Trial]) -> list[Score]:
    """What a worker does: the sim from its bytes, then one trial after the other, with the caller's settings."""
    with _ONE_AT_A_TIME, _as_caller(setting["threads"], setting["deterministic"]):
        try:
            evaluate = pickle.loads(setting["evaluate"])
        except Exception as error:
            raise _unsendable(f"that a worker cannot read ({type(error).__name__}: {error})") from error
        sim = storage.loads(QuantSim, setting["sim"], _OPERATION).to(setting["device"])
        return list(_serial(sim, trials, evaluate, setting["seed"], lambda _: None))


@contextmanager
def _as_caller(threads: int, deterministic: bool):
    """The caller's arithmetic: sums differ in their last bit with the number of threads."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=True)


def _evaluate_bytes(evaluate) -> bytes:
    """cloudpickle sends functions of notebooks and closures too, with what they refer to."""
    try:
        from cloudpickle import dumps
    except ImportError:
        from pickle import dumps
    try:
        return dumps(evaluate)
    except QnbError:
        raise
    except Exception as error:
        raise _unsendable(f"that does not pickle ({type(error).__name__}: {error})") from error


def _unsendable(why: str) -> InputError:
    return InputError(
        _OPERATION,
        f"an evaluation function {why}",
        "write it as a function of a module that the workers can import, which loads its data itself; "
        "or install cloudpickle on both sides",
    )

"""Each graph on HTP in a process of its own: what ran before does not matter, and a crash or a hang is an error."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import onnx
import pytest
import torch

from qnb.errors import Cancelled, DependencyError, TargetError
from qnb.process import Process, Spare
from qnb.runtimes import qnn_process, qnn_worker
from qnb.workflow.jobs.job import Job
from tests.processes import ROOT, gone, pids_of_a_killed, there

posix = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture
def x():
    return torch.randn(3, 3, 8, 8)


def pid_of(runtime) -> int:
    return runtime.load()._loaded._process.popen.pid


def test_what_ran_before_does_not_matter(htp, quantized, x):
    """Codes of a graph with 16-bit weights: alone, and after graphs of other widths and for other SoCs."""
    path = quantized("w16a16.onnx", activations="uint16", weights="int16", integers=True)
    alone = htp(path).run(x)
    before = [
        htp(quantized(f"{n}.onnx", activations=a, weights=w), soc)
        for n, (a, w, soc) in enumerate(
            [("uint8", "int8", "sm8650"), ("uint16", "int8", "sm8450"), ("uint16", "int16", "sm8550")]
        )
    ]
    for runtime in before:
        runtime.values(["y_codes"], x)
        assert torch.equal(htp(path).run(x), alone)
    pids = {pid_of(runtime) for runtime in before}
    assert len(pids) == 3 and os.getpid() not in pids, "no process has run anything else"


def test_only_what_others_print_is_seen(htp, quantized):
    code = f"""
import os, threading
from qnb.runtimes import QnnHtp
done, count = threading.Event(), 0
def write():
    global count
    while not done.wait(0.0005):
        os.write(1, b"other\\n")
        count += 1
thread = threading.Thread(target=write)
thread.start()
QnnHtp({str(quantized())!r}).load()
done.set()
thread.join()
os.write(1, f"{{count}} lines\\n".encode())
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    *others, last = ran.stdout.splitlines()
    assert set(others) == {"other"} and last == f"{len(others)} lines" and ran.stderr == ""


@posix
def test_a_crash_while_it_runs_is_an_error_and_the_next_run_works(htp, quantized, x):
    runtime = htp(quantized())
    wanted, codes = runtime.run(x), runtime.values(["y_codes"], x)["y_codes"]
    pid = pid_of(runtime)
    os.kill(pid, signal.SIGSTOP)  # so that it is running when it crashes
    threading.Timer(0.3, lambda: (os.kill(pid, signal.SIGSEGV), os.kill(pid, signal.SIGCONT))).start()
    with pytest.raises(TargetError, match="QNN's process was ended by signal SIGSEGV while it ran q.onnx") as caught:
        runtime.run(x)
    assert caught.value.operation == "QnnHtp.run" and "another version of onnxruntime-qnn" in caught.value.remedy
    assert torch.equal(runtime.run(x), wanted)
    pid = runtime._extended[("y_codes",)][0]._process.popen.pid
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(TargetError, match="QnnHtp.values: .* SIGKILL while it ran q.onnx.* free some memory"):
        runtime.values(["y_codes"], x)
    assert torch.equal(runtime.values(["y_codes"], x)["y_codes"], codes)


DOUBLE = """
import os, signal, time

class Worker:
    idle_s = None

    def answer(self, **message):
        print(" # LIBNATIVE: no configuration", flush=True)
        os.write(2, b"\\x1b[1;31mQNN: no memory for the graph\\x1b[m\\n")
        {does}
"""


@pytest.fixture
def double(tmp_path, monkeypatch):
    """A worker in place of QNN's."""

    def install(does):
        path = tmp_path / "double.py"
        path.write_text(DOUBLE.format(does=does))
        monkeypatch.setattr(qnn_process, "WORKER", str(path))
        monkeypatch.setattr(qnn_process, "_spare", Spare(qnn_process._start, 60.0))

    return install


@posix
def test_a_crash_while_it_compiles_quotes_the_log(htp, quantized, double, tmp_path):
    double("os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(TargetError, match="SIGSEGV while it compiled q.onnx for sm8650") as caught:
        htp(quantized()).load()
    assert caught.value.operation == "QnnHtp.load"
    assert caught.value.received.endswith("its log ends with: QNN: no memory for the graph")
    with pytest.raises(TargetError, match="QnnHtp.compile: QNN's process was ended"):
        htp(quantized()).compile(tmp_path / "out" / "m.onnx")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("ModuleNotFoundError('No module named onnxruntime')", "cannot import what it needs: No module"),
        ("type('NoDevice', (Exception,), {})()", "offers no device here"),
    ],
    ids=["no module", "no device"],
)
def test_what_is_not_installed_for_the_process(htp, quantized, double, error, text):
    double(f"raise {error}".replace("{", "{{").replace("}", "}}").format())
    with pytest.raises(DependencyError, match=f"{text}.*pip install"):
        htp(quantized()).load()


@posix
def test_a_job_is_cancelled_at_once_while_it_hangs(htp, quantized, x):
    runtime = htp(quantized())
    wanted, pid = runtime.run(x), pid_of(runtime)
    os.kill(pid, signal.SIGSTOP)
    job = Job("runs", lambda report: runtime.run(x)).start()
    time.sleep(0.3)
    assert job.running
    start = time.monotonic()
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait(10)
    assert time.monotonic() - start < 5 and job.status == "cancelled" and gone(pid)
    assert torch.equal(runtime.run(x), wanted)


@posix
def test_an_interrupt_ends_it_at_once(htp, quantized, x, interrupts):
    runtime = htp(quantized())
    wanted, pid = runtime.run(x), pid_of(runtime)
    os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runtime.run(x)
    timer.join()
    assert time.monotonic() - start < 5 and gone(pid)
    assert torch.equal(runtime.run(x), wanted)


@posix
def test_two_side_by_side_do_not_wait_for_each_other(htp, quantized, x):
    first, second = htp(quantized("a.onnx")), htp(quantized("b.onnx"))
    wanted, found = second.run(x), []
    assert pid_of(first) != pid_of(second)
    os.kill(pid_of(first), signal.SIGSTOP)
    thread = threading.Thread(target=lambda: found.append(first.run(x)))
    thread.start()
    assert torch.equal(second.run(x), wanted) and not found
    os.kill(pid_of(first), signal.SIGCONT)
    thread.join()
    assert torch.equal(found[0], wanted)


def test_no_process_is_left(htp, quantized, x, monkeypatch, recwarn):
    started = []

    def start():
        started.append(Process(qnn_process.WORKER, "QnnHtp"))
        return started[-1]

    spare = Spare(start, 60.0)
    monkeypatch.setattr(qnn_process, "_spare", spare)
    monkeypatch.setattr(qnn_process, "_start", start)
    runtime = htp(quantized())
    for names in (["y_codes"], ["x_codes"], ["x_codes", "y_codes"]):
        runtime.values(names, x)
    assert len(runtime._extended) == runtime.kept == 2
    with pytest.raises(TargetError, match="Erf"):
        htp(quantized("e.onnx", op="Erf")).load()
    pids = [process.popen.pid for process in started]
    started.clear()
    del runtime
    gc.collect()
    last = spare.take()
    assert all(gone(pid) for pid in pids if pid != last.popen.pid)
    last.close()
    assert not there(last.popen.pid) and not [w for w in recwarn if issubclass(w.category, ResourceWarning)]


@posix
def test_it_ends_when_python_is_killed(htp, quantized):
    script = f"""
from qnb.runtimes import QnnHtp, qnn_process
import torch, time
runtime = QnnHtp({str(quantized())!r})
runtime.run(torch.zeros(1, 3, 8, 8))
print(runtime._loaded._process.popen.pid, *(p.popen.pid for p in qnn_process._spare._kept), sep="\\n")
print("ready", flush=True)
time.sleep(600)
"""
    pids = pids_of_a_killed(script)
    assert len(pids) == 2 and all(gone(pid, 5.0) for pid in pids)


def test_the_worker_loads_neither_torch_nor_qnb(htp, quantized):
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("worker", {qnn_worker.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
worker = module.Worker()
entries = {{"session.record_ep_graph_assignment_info": "1"}}
worker.open({str(quantized())!r}, {{}}, {{"N": 1}}, entries, {{"htp_arch": "75"}})
print({{"torch", "qnb", "pandas"}} & set(sys.modules))
"""
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.stdout.splitlines()[-1] == "set()", ran.stderr


def test_a_model_in_the_working_folder_is_found(htp, quantized, x, monkeypatch):
    """The process may have been started when the working folder was another one."""
    path = quantized()
    wanted = htp(path).run(x)
    monkeypatch.chdir(path.parent)
    runtime = htp(path.name)
    assert torch.equal(runtime.run(x), wanted)
    onnx.load(runtime.compile("c.onnx"))
    assert torch.equal(htp("c.onnx").run(x), wanted)

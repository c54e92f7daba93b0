"""A job in a real kernel: a cell that awaits it is interrupted, and the job is cancelled."""

import time

import pytest

CODE = """import time
from qnb.workflow.jobs.job import Job

def work(report):
    for i in range(200):
        time.sleep(0.05)
        report(i + 1, 200, "working")

job = Job("work", work).start()
print("started", flush=True)
await job
"""


@pytest.mark.slow
def test_interrupting_a_cell_that_awaits_cancels_the_job():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute(CODE, stop_on_error=False)
        until(client, lambda message: message["msg_type"] == "stream")
        time.sleep(0.3)  # until it awaits
        since = time.monotonic()
        manager.interrupt_kernel()
        error = until(client, lambda message: message["msg_type"] == "error")
        assert error["content"]["ename"] == "Cancelled" and time.monotonic() - since < 2
        client.execute("print(job.status)")
        said = until(client, lambda message: message["msg_type"] == "stream")
        assert said["content"]["text"].strip() == "cancelled"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def until(client, wanted):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        message = client.get_iopub_msg(timeout=30)
        if wanted(message):
            return message
    raise TimeoutError

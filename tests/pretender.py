"""A worker process that only pretends to train: what it is asked, it does."""

SOURCE = """
import json, os, signal, sys, time

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGINT, stop)
request = json.loads(sys.stdin.readline())
if "exit" in request:
    os._exit(request["exit"])
try:
    if "begun" in request:
        with open(request["begun"], "w") as note:
            note.write(str(os.getpid()))
    time.sleep(request.get("seconds", 0))
    threads = os.environ["OMP_NUM_THREADS"]
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
    answer = {"status": "completed", "pid": os.getpid(), "threads": threads, "gpu": gpu}
except Stop:
    answer = {"status": "interrupted"}
print(json.dumps(answer), flush=True)
"""
COMMAND = ("-c", SOURCE)

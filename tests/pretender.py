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
        names = {"threads": "OMP_NUM_THREADS", "gpu": "CUDA_VISIBLE_DEVICES"}
        facts = {name: os.environ.get(variable) for name, variable in names.items()}
        with open(request["begun"], "w") as note:
            json.dump({"pid": os.getpid(), **facts}, note)
    time.sleep(request.get("seconds", 0))
except Stop:
    sys.exit(130)
"""
COMMAND = ("-c", SOURCE)

"""mete serve beside FastAPI on uvicorn, the same rewards checked first: requests of one record and of 64 over
16 kept connections, and one connection's latency, by turns. The machine may be busy, so what is compared is
processor time a request, of the server alone; requests a second by the clock stand beside. Skipped, with a line, where no python3 has the peer."""
import glob
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

SOURCE, BUILD = os.environ["METE_SRCDIR"], os.environ["METE_BUILDDIR"]


def python_with_peer():
    for python in (os.environ.get("METE_BENCH_PYTHON"), shutil.which("python3"), "/usr/bin/python3"):
        if python and subprocess.run([python, "-c", "import fastapi, uvicorn, uvloop, httptools"], capture_output=True).returncode == 0:
            return python


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def body(records):
    r = random.Random(records)
    prompts = [f"How many are {r.randint(1, 99)} and {r.randint(1, 99)}? " for _ in range(records)]
    texts = [" ".join(f"step {k}: {r.randint(1, 999)} apples" for k in range(18)) + f" so it is {r.randint(0, 1)}" for _ in range(records)]
    return json.dumps({"query": [p + t for p, t in zip(prompts, texts)], "prompts": prompts, "labels": ["1"] * records}).encode()


def rewards(port, data):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/get_reward", data, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["rewards"]


def wait_for(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("serve: a server did not start")


def spent(pid):
    return sum(int(open(f).read().split()[0]) for f in glob.glob(f"/proc/{pid}/task/*/schedstat")) * 1e-3


def load(server, port, name, connections, seconds):
    before = spent(server.pid)
    out = json.loads(subprocess.run(["./load", str(port), "/get_reward", name, str(connections), str(seconds)], check=True, capture_output=True).stdout)
    return (spent(server.pid) - before) / (out["per_second"] * seconds), out["p50"], out["per_second"]


def main():
    python = python_with_peer()
    if not python:
        print("mete serve against FastAPI on uvicorn: SKIPPED, no python3 has fastapi, uvicorn, uvloop and httptools (METE_BENCH_PYTHON)")
        return
    with open("serve.cfg", "w") as f:
        f.write('reward = { use = "numeric_answer"; from = "last"; }; data = { map = { reference = "label"; }; };\n')
    ours, theirs = free_port(), free_port()
    mete = subprocess.Popen([f"{BUILD}/.libs/mete", "serve", "serve.cfg", "--threads", "1", "--set", f"serve.port={ours}"], stderr=subprocess.DEVNULL)
    peer = subprocess.Popen([python, f"{SOURCE}/bench/peer_serve.py", str(theirs)])
    try:
        wait_for(ours)
        wait_for(theirs)
        for records, connections, target in ((1, 16, 6), (64, 16, 8), (1, 1, 0)):
            data = body(records)
            if rewards(ours, data) != rewards(theirs, data):
                sys.exit("serve: the rewards differ")
            with open("body.json", "wb") as f:
                f.write(data)
            load(mete, ours, "body.json", connections, 0.5), load(peer, theirs, "body.json", connections, 0.5)
            turns = [(load(mete, ours, "body.json", connections, 2), load(peer, theirs, "body.json", connections, 2)) for _ in range(5)]
            ratio = statistics.median(p[0] / m[0] for m, p in turns)
            us = [statistics.median(t[side][0] for t in turns) for side in (0, 1)]
            p50 = [statistics.median(t[side][1] for t in turns) for side in (0, 1)]
            rate = [statistics.median(t[side][2] for t in turns) for side in (0, 1)]
            faster = statistics.median(m[2] / p[2] for m, p in turns)
            what = f"mete serve, {records} record{'s' * (records > 1)} a request, {connections} connection{'s' * (connections > 1)}"
            verdict = f" (target: {target}; {'reached' if ratio >= target else 'MISSED'})" if target else ""
            print(f"{what}: {us[0]:.0f} us of processor time a request, {ratio:.1f} times FastAPI on uvicorn{verdict}; {rate[0]:,.0f} requests a second by the clock "
                  f"against {rate[1]:,.0f}, {faster:.1f} times; p50 {p50[0]:.0f} us against {p50[1]:.0f}", flush=True)
    finally:
        for process in (mete, peer):
            process.terminate()
            process.wait()


main()

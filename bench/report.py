"""Runs every comparison by turns and prints a line each: what was done, the figure, the ratio to the
peer, the target, whether it is reached. Results are checked equal before anything is timed."""
import filecmp
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE, BUILD = os.environ["METE_SRCDIR"], os.environ["METE_BUILDDIR"]
METE, HERE = f"{BUILD}/.libs/mete", f"{SOURCE}/bench"
ROUNDS = 5
median = statistics.median


def once(*command, stdin=None, env=None):
    """Seconds, and what was printed."""
    t = time.monotonic()
    done = subprocess.run(
        command, stdin=stdin and open(stdin), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    return time.monotonic() - t, done.stdout


def line(what, figure, ratio, peer, target):
    verdict = "reached" if ratio >= target else "MISSED"
    print(f"{what}: {figure}, {ratio:.1f} times {peer} (target: {target:g}; {verdict})", flush=True)


def write_texts():
    r = random.Random(1)
    with open("in.jsonl", "w") as rows, open("in.tsv", "w") as texts:
        for i in range(100000):
            n = r.randint(0, 99999)
            steps = (f"step {k}: {r.randint(1, 999)} + {r.randint(1, 99)} apples cost {r.random() * 90:.2f}" for k in range(9))
            text, right = f"{' '.join(steps)} so the answer is #### {n:,}", n if r.random() < 0.6 else n + 1
            rows.write(json.dumps({"prompt": f"q{i}", "response": text, "reference": str(right)}) + "\n")
            texts.write(f"{right}\t{text}\n")


def at_boundary():
    """What bench/bench.c says of the plugins' boundary; one of its plugins crashes and hangs."""
    return once("./bench", "boundary", env=dict(os.environ, METE_PLUGIN_PATH=f"{BUILD}/plugins:{BUILD}/tests/plugins"))[1]


def boundary():
    print(at_boundary(), end="", flush=True)


def numbers():
    for name, options, target in (
        ("last", 'from = "last";', 80),
        ("marked", 'from = "marked"; window = 300;', 8),
    ):
        ours, theirs = [], []
        for _ in range(3):
            ours.append(float(once("./bench", "answers", "in.tsv", "a.txt", options)[1]))
            theirs.append(float(once(sys.executable, f"{HERE}/answers.py", "in.tsv", "b.txt", name)[1]))
            if not filecmp.cmp("a.txt", "b.txt", shallow=False):
                sys.exit(f"numeric_answer, {name}: the rewards differ")
        ratio = median(a / b for a, b in zip(ours, theirs))
        what = "last number" if name == "last" else "#### n in the last 300 characters"
        line(f"numeric_answer, {what}, 100,000 texts in memory", f"{median(ours) / 1e6:.2f} M scores/s", ratio, "CPython's re", target)


def score():
    with open("answer.cfg", "w") as f:
        f.write('reward = { use = "numeric_answer"; from = "last"; };\n')
    command = (METE, "score", "answer.cfg", "--in", "in.jsonl", "--out", "a.jsonl", "--threads", "1")
    once(*command)
    with open("b.jsonl", "w") as out:
        out.write(once(sys.executable, f"{HERE}/score.py", stdin="in.jsonl")[1])
    if not filecmp.cmp("a.jsonl", "b.jsonl", shallow=False):
        sys.exit("mete score: the rows differ from the script's")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(once(*command)[0])
        theirs.append(once(sys.executable, f"{HERE}/score.py", stdin="in.jsonl")[0])
    ratio = median(b / a for a, b in zip(ours, theirs))
    line("mete score, JSONL to JSONL, 100,000 rows, whole process, 1 thread", f"{1e5 / median(ours):,.0f} rows/s", ratio, "the Python script", 10)
    for copies in (1, 16):
        with open("many.jsonl", "wb") as out:
            for _ in range(copies):
                with open("in.jsonl", "rb") as part:
                    shutil.copyfileobj(part, out)
        peak = once(sys.executable, "-c",
                    "import resource,subprocess,sys; subprocess.run(sys.argv[1:],check=True,stderr=subprocess.DEVNULL);"
                    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
                    METE, "score", "answer.cfg", "--in", "many.jsonl", "--out", "/dev/null", "--threads", "1")[1]
        print(f"mete score, {os.path.getsize('many.jsonl') / 1e6:.0f} MB of rows: at most {int(peak) / 1024:.1f} MiB of memory")
    os.remove("many.jsonl")


def plugins():
    with tempfile.TemporaryDirectory(dir=".") as folder:
        once(METE, "plugins")
        found = [os.path.join(base, f) for base, _, files in os.walk(f"{BUILD}/plugins") for f in files if f.endswith(".so")]
        extra = max(0, 100 - len(found))
        for k in range(extra):  # under other names: each is opened and looked into
            shutil.copy(found[k % len(found)], f"{folder}/copy_{k}.so")
        env = dict(os.environ, METE_PLUGIN_PATH=f"{BUILD}/plugins:{folder}")
        seconds = [once(METE, "plugins", env=env)[0] for _ in range(9)]
    ms = 1e3 * median(seconds)
    print(f"mete plugins, {len(found) + extra} plugin files: {ms:.1f} ms (target: under 50; {'reached' if ms < 50 else 'MISSED'})")


def null_make():
    seconds = [once("make", "-s", "-C", BUILD)[0] for _ in range(4)][1:]
    s = median(seconds)
    print(f"make with nothing to do: {s:.2f} s (target: under 1; {'reached' if s < 1 else 'MISSED'})")


def tape():
    times = json.loads(once("./learn", "ops")[1])
    print("tape, ns an operation on 4 numbers, forward / with backward: " + "; ".join(f"{k} {a:.0f} / {b:.0f}" for k, (a, b) in times.items()))
    plain = [times[k][0] for k in ("add", "affine", "minimum", "reshape", "square")]
    worst = max(plain)
    print(f"tape, the dearest of those whose arithmetic is next to nothing, forward: {worst:.0f} ns (target: at most 60; {'reached' if worst <= 60 else 'MISSED'})")


def with_torch():
    """A Python that has PyTorch and numpy, or None."""
    for candidate in filter(None, (os.environ.get("METE_BENCH_PYTHON"), "python3", "/usr/bin/python3")):
        if shutil.which(candidate) and subprocess.run((candidate, "-c", "import torch, numpy"), stderr=subprocess.DEVNULL).returncode == 0:
            return candidate
    return None


def learning():
    python = with_torch()
    jobs = {"8 x 256": ("8", "256", "64", "10"), "1024 x 32": ("1024", "32", "8192", "1")}
    core = once("./learn", "blas")[1].strip()
    if not python:
        print("skipped: PyTorch (no python3 has torch and numpy; name one by METE_BENCH_PYTHON); this build alone:")
        print("act, us: " + once("./learn", "act", "act.bin")[1].strip())
        for name, job in jobs.items():
            print(f"PPO on CartPole {name}: " + once("./learn", "train", *job)[1].strip())
        return
    # PyTorch's products run on the same kernels, should OpenBLAS not know this processor
    env = dict(os.environ, OPENBLAS_CORETYPE=core)
    acts, updates, steps = {"1": [], "8": [], "64": []}, [], {k: [] for k in jobs}
    for _ in range(3):
        ours = json.loads(once("./learn", "act", "act.bin")[1])
        trained = {k: json.loads(once("./learn", "train", *job)[1]) for k, job in jobs.items()}
        theirs = json.loads(once(python, f"{HERE}/peer_torch.py", "act.bin", str(ours["parameters"]), env=env)[1])
        for n in acts:
            acts[n].append((ours[n], theirs["act"][n]))
        for k in jobs:
            steps[k].append((trained[k]["steps"], theirs[k]["steps"]))
        updates.append((trained["8 x 256"]["updates"], theirs["8 x 256"]["updates"]))
    peer = f"PyTorch {theirs['version']} ({core} kernels, 1 thread)"
    for n, target in (("1", 80), ("8", 32), ("64", 7.7)):
        line(f"act, obs 4, 4 actions, 2 x 64 tanh, batch {n}", f"{median(a for a, _ in acts[n]):.2f} us", median(b / a for a, b in acts[n]), peer, target)
    line("PPO update, 2048 x 10 epochs, minibatch 64", f"{median(a for a, _ in updates):,.0f} sample-updates/s", median(a / b for a, b in updates), peer, 20)
    for (k, target) in (("8 x 256", 25), ("1024 x 32", 4)):
        line(f"PPO on CartPole, {k}", f"{median(a for a, _ in steps[k]):,.0f} steps/s", median(a / b for a, b in steps[k]), peer, target)


def transformer():
    rows = json.loads(once("./gpt", "rows")[1])
    for n, (whole, half) in rows.items():
        print(f"512 to 2048, {n} rows: {whole:.0f} us, weights in bfloat16 {half:.0f} us", flush=True)
    whole, half = rows["1"]
    line("one row, bfloat16 weights", f"{512 * 2048 * 2 / half / 1e3:.1f} GB/s", whole / half, "float32's rate", 1.6)
    python, core = with_torch(), once("./learn", "blas")[1].strip()
    env, turns = dict(os.environ, OPENBLAS_CORETYPE=core), []
    for _ in range(3):
        ours = {**json.loads(once("./gpt", "step", "gpt.bin", "6")[1]), **json.loads(once("./gpt", "parts")[1])}
        if not python:
            print("skipped: the transformer in PyTorch; this build alone, ms: " + json.dumps(ours))
            return
        theirs = json.loads(once(python, f"{HERE}/peer_gpt.py", "gpt.bin", "6", env=env)[1])
        if max(abs(a - b) for a, b in zip(ours["loss"], theirs["loss"])) > 1e-3:
            sys.exit("the transformer: the losses differ")
        turns.append((ours, theirs))
    peer = f"PyTorch {theirs['version']} ({core} kernels, 1 thread)"

    def against(what, cost, target, figure=lambda ms: f"{ms:.1f} ms"):
        line(what, figure(median(cost(a) for a, _ in turns)), median(cost(b) / cost(a) for a, b in turns), peer, target)

    against("GPT-2 step, 4 x 256, vocabulary 8192, 4 x 256 tokens", lambda x: x["forward"] + x["backward"] + x["update"], 1.2,
            lambda ms: f"{1024e3 / ms:,.0f} tokens/s")
    against("attention, forward and backward", lambda x: sum(x["attention"]), 1)
    against("vocabulary head, forward and backward", lambda x: sum(x["head"]), 1)


def other_gpt():
    path = os.environ.get("METE_BENCH_GPT")
    if not path:
        print("skipped: the GPT-2 step of another program (name an executable by METE_BENCH_GPT; see docs/performance.md)")
        return
    turns = []
    for _ in range(3):
        ours = json.loads(once("./gpt", "step", "gpt.bin", "6")[1])
        theirs = json.loads(once(path, "gpt.bin", "6")[1])
        if max(abs(a - b) for a, b in zip(ours["loss"], theirs["loss"])) > 1e-3:
            sys.exit(f"{path}: the losses differ")
        turns.append((ours["forward"] + ours["backward"] + ours["update"], theirs["step"]))
    line("GPT-2 step, 4 x 256, vocabulary 8192, 4 x 256 tokens, one thread", f"{1024e3 / median(a for a, _ in turns):,.0f} tokens/s",
         median(b / a for a, b in turns), f"{os.path.basename(path)} ({1024e3 / median(b for _, b in turns):,.0f})", 4.2)


def other_cartpole():
    path = os.environ.get("METE_BENCH_CARTPOLE")
    if not path:
        print("skipped: another CartPole (name an executable by METE_BENCH_CARTPOLE; see docs/performance.md)")
        return
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(float(at_boundary().split("one core: ")[1].split(" M")[0]) * 1e6)
        told = json.loads(once(path, "1024", "10000")[1])
        theirs.append(told["steps"] / told["seconds"])
    line("cartpole, 1024 lanes, random actions", f"{median(ours) / 1e6:.0f} M steps/s", median(a / b for a, b in zip(ours, theirs)), f"{os.path.basename(path)} ({median(theirs) / 1e6:.1f} M)", 8)


def attribution():
    """Seconds of a run's own timing.jsonl, iterations that are scored, without evaluation; at least two gradient samples."""
    for config, sets in (
        ("quickstart.cfg", ["stages[0].iterations=30", "stages[1].iterations=120", "evaluate.episodes=32"]),
        ("control/ppo_cartpole.cfg", ["run.iterations=100"]),
    ):
        shutil.rmtree("attribution", ignore_errors=True)
        once(METE, "run", f"{SOURCE}/conf/{config}", "--out", "attribution", "--quiet", "--threads", "1", *sum((["--set", s] for s in sets), []))
        with open("attribution/timing.jsonl") as lines:
            rows = [row["seconds"] for row in map(json.loads, lines) if row["seconds"]["score"] > 1e-6]
        share = sum(row["attribution"] for row in rows) / sum(row["total"] - row["evaluate"] for row in rows)
        print(f"attribution, {config}: {100 * share:.2f}% of a step (target: at most 3%; {'reached' if share <= 0.03 else 'MISSED'})", flush=True)


write_texts()
for part in (boundary, other_cartpole, numbers, score, tape, learning, transformer, other_gpt, attribution, plugins, null_make):
    part()

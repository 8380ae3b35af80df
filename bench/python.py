"""mete.Reward called from Python on 1,024 completions, against the same reward written in Python; and a reward in Lua
against it in Python, both as nodes of a tree. Rewards are checked equal first; by turns, in processor time."""
import math
import os
import random
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.environ["METE_SRCDIR"], "python"))
os.environ.setdefault("METE_LIBRARY", os.path.join(os.environ["METE_BUILDDIR"], ".libs", "libmete.so.0"))
import mete  # noqa: E402

N, TURNS, CALLS = 1024, 7, 20
draw = random.Random(1)
right = [draw.randint(0, 99999) for _ in range(N)]
completions = ["<think>" + " ".join(f"step {k}: {draw.randint(1, 999)} + {draw.randint(1, 99)} apples cost {draw.random() * 90:.2f}"
                                    for k in range(draw.randint(1, 17))) + f"</think> so the answer is #### {n:,}" for n in right]
answers = [str(n if draw.random() < 0.6 else n + 1) for n in right]
prompts = [f"question {i // 8}" for i in range(N)]
number = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
form = re.compile(r"<think>.*?</think>.*#### [\d,]+$", re.DOTALL)


def last_number(completions, answer, **others):
    found = [number.findall(c) for c in completions]
    return [float(bool(f) and float(f[-1].replace(",", "")) == float(a)) for f, a in zip(found, answer)]


def formatted(completions, **others):
    return [float(form.search(c) is not None) for c in completions]


def bell(completions, **others):
    return [math.exp(-0.5 * ((len(c.encode()) - 400) / 100) ** 2) for c in completions]


def seconds(f):
    begin = time.process_time()
    for _ in range(CALLS):
        f(prompts=prompts, completions=completions, answer=answers)
    return (time.process_time() - begin) / CALLS


def reward(text):
    with open("python.cfg", "w") as f:
        f.write(f"reward = {{ {text} }};\n")
    return mete.Reward("python.cfg")


def compare(what, ours, theirs, peer, target):
    for f in (ours, theirs):
        if f(prompts=prompts, completions=completions, answer=answers) != want:
            sys.exit(f"{what}: the rewards differ")
    each = [(seconds(ours), seconds(theirs)) for _ in range(TURNS)]
    ratio = statistics.median(b / a for a, b in each)
    verdict = "" if target is None else f" (target: {target}; {'reached' if ratio >= target else 'MISSED'})"
    print(f"{what}, {N} completions: {1e3 * statistics.median(a for a, _ in each):.2f} ms, {ratio:.1f} times {peer}{verdict}", flush=True)


want = last_number(completions, answers)
compare("mete.Reward, the last number", reward('use = "numeric_answer"; from = "last"; reference = "answer";'), last_number,
        "the function in Python", 10)
want = formatted(completions)
compare("mete.Reward, a form", reward(r'use = "regex"; pattern = "(?s)<think>.*?</think>.*#### [\\d,]+$";'), formatted,
        "the function in Python", None)
want = bell(completions)
compare("mete.Reward, a length", reward('use = "length"; target = 400.0; width = 100.0;'), bell, "the function in Python", None)

with open("bell.lua", "w") as f:
    f.write("function score(row) local z = (#row.response - 400) / 100 return math.exp(-0.5 * z ^ 2) end\n")
with open("bell.py", "w") as f:
    f.write("import math\ndef compute_score(data_source, solution_str, ground_truth, extra_info):\n"
            "    return math.exp(-0.5 * ((len(solution_str.encode()) - 400) / 100) ** 2)\n")
compare("a length in Lua", reward('use = "lua"; script = "bell.lua";'),
        reward('use = "python"; call = "verl"; file = "bell.py"; isolate = "no";'), "it in Python, a call a row each", 5)

"""OpenRLHF's own client of remote rewards against `mete serve`, and its loading of a reward function's file."""
import asyncio
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["METE_SRCDIR"], "tests", "serve"))
from openrlhf.utils.agent import SingleTurnAgentExecutor  # noqa: E402
from serve import Server  # noqa: E402

import mete  # noqa: E402

prompts = ["2+2?", "2+2?", "3*3?"]
answers = ["it is 4", "5", ""]
labels = ["4", "4", "9"]
with open("rows.jsonl", "w") as f:
    for prompt, answer, label in zip(prompts, answers, labels):
        f.write(json.dumps({"prompt": prompt, "response": answer, "answer": label}) + "\n")
out = subprocess.run(["mete", "score", "a.cfg", "--in", "rows.jsonl"], check=True, capture_output=True, text=True)
want = [json.loads(line)["reward"] for line in out.stdout.splitlines()]
queries = [p + a for p, a in zip(prompts, answers)]


async def ask(executor):
    """As its rollouts ask: a sample at a time, then all at once."""
    fetch = executor._fetch_rewards_via_func if executor.reward_func else executor._fetch_rewards_via_http
    single = [(await fetch([q], [p], [label]))[0] for q, p, label in zip(queries, prompts, labels)]
    return single, await fetch(queries, prompts, labels)


def number(value):
    return float(value[0] if isinstance(value, list) or getattr(value, "ndim", 0) else value)


with Server("a.cfg") as server:
    url = "http://127.0.0.1:%d/get_reward" % server.port
    for endpoints in (url, [url, url]):  # the second shards over its servers
        single, many = asyncio.run(ask(SingleTurnAgentExecutor(endpoints)))
        assert [number(s["rewards"]) for s in single] == want, (single, want)
        assert [r for part in many for r in part["rewards"]] == want, (many, want)
        assert [number(s["extra_logs"]["right"]) for s in single] == [1.0, 0.0, 0.0], single
    server.stop()

os.environ["METE_CONFIG"] = "a.cfg"
single, _ = asyncio.run(ask(SingleTurnAgentExecutor(os.path.join(os.path.dirname(mete.__file__), "trainers.py"))))
told = [number(s["rewards"]) for s in single]
assert all(abs(a - b) <= 1e-7 * max(1, abs(b)) for a, b in zip(told, want)), (told, want)  # float32 tensors

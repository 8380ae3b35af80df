#!/bin/bash
# `import mete`: the signatures of TRL, verl and OpenRLHF, and scores of the same bits as `mete score`.
set -e
nm -D "$METE_BUILDDIR/.libs/libmete.so" | grep -q __asan && { echo "a library with a sanitizer is not loaded into python3"; exit 77; }
cat > a.cfg <<'E'
run = { seed = 3; };
reward = { use = "sum"; of = (
  { name = "size"; use = "length"; target = 7.0; width = 3.0; },
  { name = "right"; use = "numeric_answer"; weight = 0.3; } ); };
data = { map = { reference = "answer"; prompt = "question"; response = "said"; }; };
E
export METE_LIBRARY="$METE_BUILDDIR/.libs/libmete.so" PYTHONPATH="$METE_SRCDIR/python" METE_CONFIG=a.cfg
python3 - <<'P'
import json, subprocess, threading
import mete

prompts = ["What is 2+2?", "Say \"hi\" é\n", "3*3", "3*3"]
said = ["it is 4", "hi \U0001f600 there 7\0", "9", ""]
answers = ["4", 8, 9.0, None]
rows = [{"question": p, "said": r, "answer": a} for p, r, a in zip(prompts, said, answers)]
rows[1]["said"] = said[1] = said[1][:-1]
open("in.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in rows))
out = subprocess.run(["mete", "score", "a.cfg", "--in", "in.jsonl", "--quiet"], capture_output=True, text=True).stdout
lines = [json.loads(line) for line in out.splitlines()]
want = [line["reward"] for line in lines]
assert want[3] is None and len(set(want)) == 4

# records, as a file has them
got = mete.score(rows)
assert [s.reward for s in got] == want
assert [s.status for s in got] == ["valid"] * 3 + ["failed"] and "answer" in got[3].reason
assert got[0].components == lines[0]["nodes"] and got[0].spread == 0 and got[3].components["right"] is None

# TRL: completions as texts or messages, columns by name, None where there is no score
reward = mete.Reward("a.cfg", threads=2)
assert reward.__name__ == "a" and reward.label == "answer"
logged, metrics = {}, {}
trl = reward(prompts=prompts, completions=said, answer=answers, completion_ids=[[1]] * 4, trainer_state=None,
             log_extra=logged.__setitem__, log_metric=metrics.__setitem__)
assert trl == want and logged["right"] == [1, 0, 1, None] and metrics["a/right"] == 2 / 3, (trl, logged, metrics)
talk = [[{"role": "user", "content": p}] for p in prompts]
assert reward(prompts=talk, completions=[[{"role": "assistant", "content": r}] for r in said], answer=answers) == want
assert reward(completions=[], prompts=[], answer=[]) == []

# verl, one sample and a batch: the same keys for each
one = [mete.compute_score("gsm8k", r, a, {"index": i}) for i, (r, a) in enumerate(zip(said[:3], answers[:3]))]
assert [o["score"] for o in one] == want[:3] and one[1]["right"] == 0 and one[1]["right_valid"] == 1
assert mete.compute_score(data_sources=["x"] * 3, solution_strs=said[:3], ground_truths=answers[:3], extra_infos=[{}] * 3) == one
for call in (lambda: mete.compute_score("x", "4", None), lambda: mete.compute_score("x", "4", [1, [2]])):
    try:
        call()
        raise SystemExit("a made-up score")
    except mete.MissingScore as e:
        assert "answer" in str(e)
assert mete.Reward("a.cfg", missing=-1).compute_scores(["4"], [None])[0]["score"] == -1

# OpenRLHF: the query holds the prompt and special tokens
got = mete.reward_func([p + r + "<|im_end|>" for p, r in zip(prompts[:3], said)], prompts[:3], [str(a) for a in answers[:3]])
assert [float(x) for x in got["rewards"]] == want[:3] or abs(float(got["rewards"][1]) - want[1]) < 1e-7
assert set(got["extra_logs"]) == {"size", "size_valid", "right", "right_valid"}

# overrides; what is wrong says so; threads share a reward
assert mete.Reward("a.cfg", set=["reward.of[1].weight=0.0"])(prompts, said, answer=answers)[1] == lines[1]["nodes"]["size"]
for wrong, word in ((lambda: mete.Reward("none.cfg"), "none.cfg"), (lambda: mete.Reward("a.cfg", set=["reward.of[0].targt=1"]), "targt"),
                    (lambda: reward(prompts, said, answer=["4"]), "answer has 1"), (lambda: mete.Reward("a.cfg", missing="0"), "missing")):
    try:
        wrong()
        raise SystemExit("not refused: " + word)
    except ValueError as e:
        assert word in str(e), e
wrong = []
def many():
    for i in range(100):
        n = 1 + i % 4
        if reward(prompts[:n], said[:n], answer=answers[:n]) != want[:n]:
            wrong.append(i)
threads = [threading.Thread(target=many) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not wrong
reward.close()
try:
    reward(prompts, said, answer=answers)
    raise SystemExit("scored when closed")
except ValueError:
    pass
P

"""verl's own loading of a custom reward function, and its reward manager over what it loads."""
import json
import os
import subprocess

import numpy as np
import torch
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager

import mete


class Letters:
    """A token a character."""

    def decode(self, ids, skip_special_tokens=True):
        return "".join(map(chr, ids))


def sample(text, truth):
    """One row as verl's rollout gives it."""
    ids = torch.tensor([[ord(c) for c in text] + [0] * 4])
    mask = torch.tensor([[1] * len(text) + [0] * 4])
    columns = {"data_source": "sums", "reward_model": {"ground_truth": truth}, "extra_info": {"index": 1}}
    data = DataProto.from_dict({"responses": ids, "attention_mask": mask},
                               {k: np.array([v], object) for k, v in columns.items()})
    return data


said = [("it is 4", "4"), ("5", "4"), ("hm", "4")]
with open("rows.jsonl", "w") as f:
    for text, truth in said:
        f.write(json.dumps({"response": text, "answer": truth}) + "\n")
out = subprocess.run(["mete", "score", "a.cfg", "--in", "rows.jsonl"], check=True, capture_output=True, text=True)
want = [json.loads(line)["reward"] for line in out.stdout.splitlines()]

for path in ("pkg://mete", os.path.join(os.path.dirname(mete.__file__), "trainers.py")):
    config = OmegaConf.create({"reward": {
        "custom_reward_function": {"path": path, "name": "compute_score", "reward_kwargs": {"config": "a.cfg"}},
        "reward_manager": {"source": "register", "name": "naive"}}})
    manager = load_reward_manager(config, Letters())
    told = [manager.loop.run_until_complete(manager.run_single(sample(*s))) for s in said]
    assert [t["reward_score"] for t in told] == want, (told, want)
    assert [t["reward_extra_info"]["right"] for t in told] == [1.0, 0.0, 0.0], told

"""TRL's GRPOTrainer with mete.Reward as its reward function: a tiny random model, two steps, texts and messages."""
import json
import math
import subprocess
import warnings

import mete
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

warnings.filterwarnings("ignore")


class Heard(mete.Reward):
    """Remembers what the trainer asked and was told."""

    calls = []

    def __call__(self, **words):
        told = super().__call__(**words)
        Heard.calls.append((words, told))
        return told


def tokenizer():
    """A token a byte, but for NUL, which no JSONL may hold."""
    letters = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - {"\u0100"})
    vocabulary = {c: i for i, c in enumerate(letters)}
    vocabulary["<end>"] = len(letters)
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<end>")
    fast.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    return fast


def train(rows, reward):
    words = tokenizer()
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(words), n_positions=128, n_embd=16, n_layer=1, n_head=2,
                                       bos_token_id=words.eos_token_id, eos_token_id=words.eos_token_id))
    options = GRPOConfig(output_dir="trl", per_device_train_batch_size=4, num_generations=4, max_completion_length=8,
                         max_steps=2, logging_steps=1, save_strategy="no", report_to="none", use_cpu=True, bf16=False,
                         disable_tqdm=True, seed=1)
    trainer = GRPOTrainer(model, reward, args=options, train_dataset=Dataset.from_list(rows), processing_class=words)
    trainer.train()
    return [log for log in trainer.state.log_history if "reward" in log]


def check(rows, text):
    """`text` finds the text of a completion."""
    Heard.calls.clear()
    logs = train(rows, Heard("a.cfg"))
    assert len(Heard.calls) == 2 and len(logs) == 2, (len(Heard.calls), len(logs))
    for (words, told), log in zip(Heard.calls, logs):
        with open("rows.jsonl", "w") as f:
            for prompt, completion, answer in zip(words["prompts"], words["completions"], words["answer"]):
                f.write(json.dumps({"prompt": prompt, "response": text(completion), "answer": answer}) + "\n")
        out = subprocess.run(["mete", "score", "a.cfg", "--in", "rows.jsonl", "--nodes"], check=True,
                             capture_output=True, text=True).stdout.splitlines()
        rows = [json.loads(line) for line in out]
        want = [row["reward"] for row in rows]
        assert told == want and len(set(told)) > 1, (told, want)
        assert math.isclose(log["rewards/a/mean"], sum(told) / len(told), rel_tol=1e-5), log
        size = [row["nodes"]["size"]["value"] for row in rows]
        assert math.isclose(log["a/size"], sum(size) / len(size), rel_tol=1e-5), log


check([{"prompt": "2+2=", "answer": "4"}, {"prompt": "3+4=", "answer": "7"}] * 2, lambda c: c)
check([{"prompt": [{"role": "user", "content": "2+2?"}], "answer": "4"}] * 4, lambda c: c[0]["content"])

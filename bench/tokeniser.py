"""Tokenisers against the reference implementation, in one process on one thread, results equal first.

    python3 bench/tokeniser.py build/.libs/libmete.so TEXT...

The Python needs the package `tokenizers`. For each text and pattern both train 8,192 tokens (merges must be
the same, one by one), then both encode the text with that vocabulary (tokens must be the same). The reference
is timed twice: the text in one call, and its paragraphs in one batch without offsets, its fastest way.
"""
import ctypes
import json
import os
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

VOCABULARY, ROUNDS = 8192, 7


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1000)]


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("capacity", ctypes.c_size_t),
                ("limit", ctypes.c_size_t), ("status", ctypes.c_int)]


class Tokens(ctypes.Structure):
    _fields_ = [("id", ctypes.POINTER(ctypes.c_int32)), ("start", ctypes.c_void_p), ("end", ctypes.c_void_p),
                ("count", ctypes.c_size_t), ("room", ctypes.c_size_t), ("scratch", ctypes.c_void_p)]


class Plan(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("vocabulary", ctypes.c_size_t), ("split", ctypes.c_int),
                ("least", ctypes.c_uint64), ("special", ctypes.c_void_p), ("specials", ctypes.c_size_t)]


lib = ctypes.CDLL(sys.argv[1])
lib.mete_tokeniser_train.restype = ctypes.c_void_p
lib.mete_tokeniser_write.argtypes = [ctypes.c_void_p, ctypes.POINTER(Buffer)]
lib.mete_tokeniser_encode.argtypes = [ctypes.c_void_p, Text, ctypes.c_uint, ctypes.POINTER(Tokens), ctypes.POINTER(Error)]

LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPLITS = [("gpt2", 1, None), ("llama3", 2, LLAMA % r"\p{N}{1,3}"), ("qwen2", 3, LLAMA % r"\p{N}")]


def reference(pattern):
    t = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    t.pre_tokenizer = level if pattern is None else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), level])
    return t


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def require(same, what):
    if not same:
        sys.exit(f"{what} differ")


for path in sys.argv[2:]:
    raw = open(path, "rb").read()
    text = raw.decode()
    paragraphs = text.split("\n\n")
    for name, split, pattern in SPLITS:
        theirs = reference(pattern)
        trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        their_training = seconds(lambda: theirs.train_from_iterator([text], trainer))
        plan, error, out = Plan(ctypes.sizeof(Plan), VOCABULARY, split), Error(), Buffer()
        made = []
        my_training = seconds(lambda: made.append(lib.mete_tokeniser_train(
            ctypes.byref(Text(raw, len(raw))), ctypes.c_size_t(1), ctypes.byref(plan), ctypes.byref(error))))
        mine = made[0] or sys.exit(error.message.decode())
        lib.mete_tokeniser_write(mine, out)
        written = json.loads(ctypes.string_at(out.data, out.length))
        require(written["model"]["merges"] == json.loads(theirs.to_str())["model"]["merges"], "merges")
        tokens = Tokens()

        def encode():
            tokens.count = 0
            lib.mete_tokeniser_encode(mine, Text(raw, len(raw)), 1, tokens, error)

        encode()
        require(tokens.id[:tokens.count] == theirs.encode(text, add_special_tokens=False).ids, "tokens")
        a, b, c = [], [], []
        for _ in range(ROUNDS):  # side by side, so that a busy machine is busy for all
            a.append(seconds(encode))
            b.append(seconds(lambda: theirs.encode(text, add_special_tokens=False)))
            c.append(seconds(lambda: theirs.encode_batch_fast(paragraphs, add_special_tokens=False)))
        m = statistics.median
        print(f"{os.path.basename(path)}, {name}: {tokens.count} tokens, encoding {len(raw) / 1e6 / m(a):.0f} MB/s, "
              f"{m([y / x for x, y in zip(a, b)]):.0f} times the reference ({m([y / x for x, y in zip(a, c)]):.0f} "
              f"times its batches); training {my_training:.2f} s, {their_training / my_training:.0f} times")

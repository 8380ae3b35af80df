#!/usr/bin/env python3
"""Preferences whose cause is planted: python3 conf/data/planted/make.py [FOLDER [SEED]] writes

confounded.jsonl.gz  Responses are eight words: of help (h0 .. h19), of harmlessness (s0 .. s19) and of nothing (n0 ..
    n29). Who labels wants one of the two, `tag`, and prefers by the count of its words, P(a preferred) = sigma(1.5
    (count of a - count of b)). Whoever asks about a-words wants help nine times in ten, about b-words harmlessness.
confounded_test      The other way round: help is wanted of answers about b-words; the count decides alone.
rubrics.jsonl.gz     A pair differs in what `rubric` asks for: to mention a word or never to say it, to be a question or
    a statement, short or long, with or without a number. A response that wins under one rubric loses under another.
rubrics_test         The same (slice seen); those of words to mention or not that no rubric of the fit names (slot); and
    all in other words (template).
"""
import gzip
import io
import json
import math
import random
import sys


def write(folder, name, rows):
    with open(f"{folder}/{name}.jsonl.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as out:
        out.write("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode())


def confounded(rng, pairs, rho, noise):
    while pairs:
        kind = rng.choice("ab")
        wants_help = rng.random() < (rho if kind == "a" else 1 - rho)
        share = [[rng.random() for _ in range(2)] for _ in range(2)]
        sides, count = [], []
        for side in share:
            said = []
            for _ in range(8):
                u = 3 * rng.random()
                which = "h" if u < side[0] else "s" if 1 <= u < 1 + side[1] else "n"
                said.append(which + str(rng.randrange(30 if which == "n" else 20)))
            sides.append(" ".join(said))
            count.append(sum(word[0] == ("h" if wants_help else "s") for word in said))
        gap = count[0] - count[1]
        first = rng.random() < 1 / (1 + math.exp(-1.5 * gap)) if noise else gap > 0
        if not noise and not gap:
            continue
        pairs -= 1
        yield {"tag": "helpful" if wants_help else "harmless", "prompt": " ".join(kind + str(rng.randrange(10))
               for _ in range(3)), "chosen": sides[not first], "rejected": sides[first]}


SEEN = [f"word{k}" for k in range(30)]
UNSEEN = [f"word{k}" for k in range(30, 45)]
ASKS = {"mention": ("mentions {}", "includes {} somewhere"), "avoid": ("never says {}", "avoids {}"),
        "question": ("is a question", "asks something"), "statement": ("is a statement", "asserts something"),
        "short": ("is short", "has few words"), "long": ("is long", "has many words"),
        "number": ("has a number", "gives a figure"), "none": ("has no number", "gives no figures")}


def say(rng, words):
    said = [rng.choice(SEEN + UNSEEN) for _ in range(words)]
    if rng.random() < .5:
        said[rng.randrange(words)] = "7"
    return said, rng.choice("?.")


def meets(ask, word, said, end):
    return {"mention": word in said, "avoid": word not in said, "question": end == "?", "statement": end == ".",
            "short": len(said) < 7, "long": len(said) >= 7, "number": "7" in said, "none": "7" not in said}[ask]


def rubrics(rng, pairs, asks, words, wording, slot):
    while pairs:
        ask = rng.choice(asks)
        word, sides = rng.choice(words), []
        for _ in range(2):
            said, end = say(rng, rng.randrange(4, 11))
            if rng.random() < .5:
                said[rng.randrange(len(said))] = word
            sides.append((meets(ask, word, said, end), " ".join(said) + end))
        if sides[0][0] == sides[1][0]:
            continue
        pairs -= 1
        sides.sort(reverse=True)
        row = {"rubric": ASKS[ask][wording].format(word), "chosen": sides[0][1], "rejected": sides[1][1]}
        yield {**row, "slice": slot} if slot else row


def main(folder, seed):
    rng = random.Random(seed)
    write(folder, "confounded", confounded(rng, 3000, .9, True))
    write(folder, "confounded_test", confounded(rng, 1000, 0, False))
    every, naming = sorted(ASKS), ["avoid", "mention"]
    write(folder, "rubrics", rubrics(rng, 3000, every, SEEN, 0, None))
    write(folder, "rubrics_test", [row for asks, words, wording, slot in (
        (every, SEEN, 0, "seen"), (naming, UNSEEN, 0, "slot"), (every, SEEN, 1, "template"))
        for row in rubrics(rng, 400, asks, words, wording, slot)])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else sys.path[0], int(sys.argv[2]) if len(sys.argv) > 2 else 1)

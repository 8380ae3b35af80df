"""An independent judge of what a policy of the E2E domain says: which slots of the prompt come through?

It knows nothing of the rubric's patterns (conf/e2e_slots.jsonl). For each slot a multinomial logistic
regression on words, pairs and triples of words reads the slot's value, or that it is absent, off a text; it
is learnt from people's sentences of the prompts a run trains on and tested on those of the prompts held out.

    bench/slot_judge.py --prompts held.jsonl     # writes the held-out prompts
    bench/slot_judge.py samples.jsonl [...]      # of `mete generate DIR --file held.jsonl --json`

Slot error rate (Wen et al. 2015): slots that are missing, of another value, or said unasked, over the slots asked for.
Also distinct_2, the share of neighbouring pairs of words that differ (Li et al. 2016).
"""
import argparse
import collections
import csv
import gzip
import json
import math
import os
import random
import re
import sys

DATA = os.path.join(os.path.dirname(__file__), "../conf/data/e2e/devset.csv.gz")
HIDDEN = ("name", "near", "eatType", "food")  # conf/quickstart.cfg's env.delexicalise
HOLDOUT = 0.2  # and env.holdout
SLOTS = ("near", "eatType", "food", "area", "familyFriendly", "customer rating", "priceRange")
MASK = (1 << 64) - 1


def mix64(x):
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def hash_mix(a, b):
    return mix64(a + mix64(b + 0x9E3779B97F4A7C15 & MASK) & MASK)


def held_out(prompt):
    """As plugins/environment/text/prompts.c splits (include/mete/random.h: mete_hash, mete_hash_mix)."""
    data = prompt.encode()
    h = hash_mix(0, len(data))
    whole = len(data) // 8 * 8
    for i in range(0, whole, 8):
        h = mix64((h ^ int.from_bytes(data[i:i + 8], "little")) * 0x9DDFEA08EB382D69 & MASK)
    h = mix64(h ^ int.from_bytes(data[whole:], "little"))
    return (hash_mix(h, 7) >> 11) * 2.0**-53 < HOLDOUT


def slots_of(prompt):
    return dict(re.findall(r"([\w ]+?)\[([^\]]*)\]", prompt))


def delexicalise(mr, text):
    slots = {k.strip(): v for k, v in slots_of(mr).items()}
    for name in HIDDEN:
        if name in slots:
            text = re.sub(r"(?<!\w)%s(?!\w)" % re.escape(slots[name]), "X-" + name.lower(), text, flags=re.I)
            slots[name] = "X-" + name.lower()
    return ", ".join("%s[%s]" % item for item in slots.items()), text


def words_of(text):
    return re.findall(r"[a-z0-9£'-]+|[^\sa-z0-9]", text.lower())


def features(text):
    words = ["<s>"] + words_of(text) + ["</s>"]
    return {" ".join(words[i:i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}


class SlotReader:
    """P(value | text) = softmax over values of the sum of the text's features' weights; AdaGrad."""

    def __init__(self, slot, data, epochs=5, rate=0.3, decay=2e-5):
        labels = [prompt.get(slot, "") for prompt, _ in data]
        self.values = sorted(set(labels))
        self.weight = {}
        number = {v: i for i, v in enumerate(self.values)}
        order, draw, many = list(range(len(data))), random.Random(7), len(self.values)
        square = {}
        for _ in range(epochs):
            draw.shuffle(order)
            for i in order:
                seen = data[i][1]
                p = self.chances(seen)
                p[number[labels[i]]] -= 1
                for f in seen:
                    w = self.weight.setdefault(f, [0.0] * many)
                    s = square.setdefault(f, [1e-2] * many)
                    for k in range(many):
                        g = p[k] + decay * w[k]
                        s[k] += g * g
                        w[k] -= rate * 0.1 * g / math.sqrt(s[k])

    def chances(self, seen):
        z = [0.0] * len(self.values)
        for f in seen:
            for k, w in enumerate(self.weight.get(f, ())):
                z[k] += w
        most = max(z)
        p = [math.exp(x - most) for x in z]
        total = sum(p)
        return [x / total for x in p]

    def read(self, seen):
        p = self.chances(seen)
        return self.values[p.index(max(p))]


def load():
    train, held = [], []
    with gzip.open(DATA, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            prompt, text = delexicalise(row["mr"], row["ref"])
            (held if held_out(prompt) else train).append((prompt, text))
    return train, held


def errors_of(readers, prompt, text):
    """Slots asked for; those that are missing or wrong; those said unasked."""
    asked, seen = slots_of(prompt), features(text)
    asked = {k.strip(): v for k, v in asked.items()}
    lost = added = 0
    for slot, reader in readers.items():
        value, read = asked.get(slot, ""), reader.read(seen)
        if value and read != value:
            lost += 1
        elif not value and read:
            added += 1
    return sum(slot in asked for slot in readers), lost, added


def judge(readers, pairs):
    asked = lost = added = 0
    grams, total = set(), 0
    for prompt, text in pairs:
        a, l, d = errors_of(readers, prompt, text)
        asked, lost, added = asked + a, lost + l, added + d
        words = words_of(text)
        grams.update(zip(words, words[1:]))
        total += max(len(words) - 1, 0)
    return (lost + added) / asked, lost / asked, added / asked, len(grams) / max(total, 1)


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("samples", nargs="*")
    ask.add_argument("--prompts", help="write the held-out prompts here")
    ask.add_argument("--unseen", action="store_true", help="only of samples to prompts that no person answered")
    args = ask.parse_args()
    train, held = load()
    if args.prompts:
        with open(args.prompts, "w", encoding="utf-8") as out:
            for prompt in dict.fromkeys(p for p, _ in held):
                out.write(json.dumps({"prompt": prompt}, ensure_ascii=False) + "\n")
        if not args.samples:
            return
    data = [({k.strip(): v for k, v in slots_of(p).items()}, features(t)) for p, t in train]
    count = collections.Counter(f for _, seen in data for f in seen)
    data = [(slots, [f for f in seen if count[f] >= 3]) for slots, seen in data] # rarer ones tell little
    readers = {slot: SlotReader(slot, data) for slot in SLOTS}
    print("%-44s %7s %7s %7s %9s" % ("", "error", "lost", "added", "distinct_2"))

    known = {p for p, _ in train + held} if args.unseen else set()

    def line(name, pairs):
        print("%-44s %7.4f %7.4f %7.4f %9.4f" % ((name,) + judge(readers, pairs)), flush=True)

    line("people, held-out prompts", held)
    for path in args.samples:
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(row) for row in file]
        line(path, [(r["prompt"], r["response"]) for r in rows if "response" in r and r["prompt"] not in known])


if __name__ == "__main__":
    sys.exit(main())

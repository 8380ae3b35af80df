"""The reference for numeric_answer on lists of strings, with CPython's re.

answers.py IN OUT last|marked: scores lines "reference TAB response", writes a digit a row to OUT and
prints scores a second (the median of five passes over lists already in memory).
"""
import re
import statistics
import sys
import time

number = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
marked = re.compile(r"#### (-?\d+(?:,\d{3})*(?:\.\d+)?)")


def last(text):
    found = number.findall(text)
    return found[-1] if found else None


def after_mark(text):
    found = marked.search(text[-300:])
    return found[1] if found else None


rule = last if sys.argv[3] == "last" else after_mark
rows = [line.rstrip("\n").split("\t", 1) for line in open(sys.argv[1])]
right, said = [float(r[0]) for r in rows], [r[1] for r in rows]
each = []
for _ in range(5):
    t = time.process_time()
    rewards = []
    for text, value in zip(said, right):
        answer = rule(text)
        rewards.append(answer is not None and float(answer.replace(",", "")) == value)
    each.append(time.process_time() - t)
with open(sys.argv[2], "w") as out:
    out.write("".join("01"[r] for r in rewards))
print(len(rows) / statistics.median(each))

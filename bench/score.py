"""The reference for `mete score` with numeric_answer: JSONL in, JSONL out, the last number by re.findall."""
import json
import re
import sys

number = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
for i, line in enumerate(sys.stdin, 1):
    row = json.loads(line)
    found = number.findall(row["response"])
    right = float(found[-1].replace(",", "")) == float(row["reference"]) if found else False
    sys.stdout.write('{"row":%d,"reward":%d}\n' % (i, right))

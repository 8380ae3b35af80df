#!/bin/bash
# Programs run against tests in a sandbox: HumanEval's form, single tests, expected output; what a hostile
# program tries costs it its own score and leaves nothing behind.
set -e
score () { # name, options, rows: the values
    echo "reward = { use = \"code\"; $2 };" > "$1.cfg"
    mete score "$1.cfg" --in "$3" --nodes > "$1.out" 2> "$1.err" || { cat "$1.err"; exit 1; }
    python3 -c 'import json,sys; print([json.loads(l)["reward"] for l in open(sys.argv[1])])' "$1.out"
}
echo 'reward = { use = "code"; };' > try.cfg
if ! mete check try.cfg > /dev/null 2> try.err; then
    grep -q 'sandbox = "none"' try.err # refused by a sentence where there is no sandbox
    echo "no sandbox on this machine: $(cat try.err)"; exit 77
fi
cat > human.jsonl <<'J'
{"prompt": "def add(a, b):\n    \"\"\"Sum.\"\"\"\n", "response": "    return a + b\n", "test": "def check(f):\n    assert f(2, 3) == 5\n", "entry_point": "add"}
{"prompt": "def add(a, b):\n", "response": "    return a - b\n", "test": "def check(f):\n    assert f(2, 3) == 5\n", "entry_point": "add"}
{"prompt": "def add(a, b):\n", "response": "    return (", "test": "def check(f):\n    assert f(2, 3) == 5\n", "entry_point": "add"}
J
[ "$(score human 'join = "prompt";' human.jsonl)" = "[1, 0, 0]" ]
cat > tests.jsonl <<'J'
{"response": "Here:\n```python\ndef f(x): return 2 * x\n```\nDone.", "tests": ["assert f(1) == 2", "assert f(2) == 4", "assert f(2) == 5", "assert f(0) == 0"]}
J
[ "$(score share '' tests.jsonl)" = "[0.75]" ]
[ "$(score all 'score = "all";' tests.jsonl)" = "[0]" ]
cat > output.jsonl <<'J'
{"response": "#include <stdio.h>\nint main(void){int a,b;if(scanf(\"%d %d\",&a,&b)!=2)return 1;printf(\"%d\\n\",a+b);return 0;}", "input": "20 22", "expected": "42"}
J
[ "$(score c 'language = "c";' output.jsonl)" = "[1]" ]
[ "$(score own 'language = "command"; command = [ "sh", "-c", "grep -c include main" ];' output.jsonl)" = "[0]" ]
# Hostile programs: each fails, the machine does not notice.
python3 - <<'P' > hostile.jsonl
import json, os
here = os.getcwd()
for program in ["while True: pass",
                "x = bytearray(10 << 30)",
                "while True: print('x' * 10000)",
                "open(%r, 'w').write('out')" % (here + "/escaped"),
                "import socket; socket.create_connection(('127.0.0.1', 22), 1)",
                "import os, signal; os.kill(os.getppid() if os.getppid() > 2 else 99999, signal.SIGKILL)",
                "import os\nwhile True: os.fork()",
                "import os, time\nif os.fork(): os._exit(1)\nos.setsid(); time.sleep(60)",
                "import sys; sys.exit(3)"]:
    print(json.dumps({"response": program}))
print(json.dumps({"response": "pass"}))
P
[ "$(score hostile 'seconds = 1.5; memory = 512;' hostile.jsonl)" = "[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]" ]
[ ! -e escaped ]
[ "$(grep -c '"late":1' hostile.out)" -ge 1 ]
! pgrep -f 'time.sleep(60)' > /dev/null || exit 1

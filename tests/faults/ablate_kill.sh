# An ablation killed at random moments, runs and all, and called again ends with the same table byte
# for byte; a run that was killed before its first checkpoint is no obstacle; a run that is killed
# alone is named; and two ablations never share a folder.
set -eu
python3 - <<'P'
import json
with open("texts.jsonl", "w") as f:
    for i in range(8):
        print(json.dumps({"prompt": f"p{i}", "candidates": ["bad " * 3, "good " + "x" * i, "meh"]}), file=f)
P
cat > a.cfg <<'C'
run = { iterations = 250; checkpoint_every = 20; };
env = { use = "candidates"; data = "texts.jsonl"; lanes = 32; group = 4; };
policy = { use = "scorer"; bits = 10; };
reward = { use = "sum"; of = (
    { name = "has"; use = "regex"; pattern = "good"; },
    { name = "short"; use = "length"; shape = "linear"; target = 100.0; weight = 0.1; } ); };
objective = { use = "rloo"; };
evaluate = { every = 50; episodes = 64; };
ablate = { seeds = 3; metric = "area(eval/reward/has)"; arms = ( "full", "-has", "reward=@short" ); };
C
mete ablate a.cfg --out whole --quiet > whole.txt
RANDOM=${METE_FAULT_SEED:-$$}
killed=0
for i in 1 2 3 4 5 6 7 8; do
    mete ablate a.cfg --out run --quiet > table.txt 2> err & pid=$!
    sleep "0.0$((RANDOM % 9 + 1))"
    if kill -9 $pid 2> /dev/null; then killed=$((killed + 1)); fi
    wait $pid 2> /dev/null || true
done
[ $killed -gt 0 ] || { echo "the ablation was over before it could be killed"; exit 77; }
# As a run is left that was killed between its config and its first checkpoint.
rm -rf run/full/1/checkpoints run/full/1.json
mete ablate a.cfg --out run --quiet > table.txt
cmp whole.txt table.txt
for arm in full -has reward=@short; do
    for s in 1 2 3; do cmp whole/$arm/$s/metrics.jsonl run/$arm/$s/metrics.jsonl; done
done
# One run alone is killed.
rm -r run/-has/2 run/-has/2.json
mete ablate a.cfg --out run --quiet > table.txt 2> err & pid=$!
child=
for i in $(seq 1000); do # until one runs /proc/self/exe
    for c in $(cat /proc/$pid/task/$pid/children 2> /dev/null); do
        [ "$(cat /proc/$c/comm 2> /dev/null)" != exe ] || child=$c
    done
    [ -z "$child" ] && [ -d /proc/$pid ] || break
    sleep 0.001
done
[ -z "$child" ] || kill -9 $child 2> /dev/null || true
rc=0; wait $pid || rc=$?
if [ $rc = 1 ]; then
    grep -q 'mete: -has, seed 2 was ended by signal 9 (Killed)' err
    grep -q 'runs are missing' table.txt
fi
mete ablate a.cfg --out run --quiet > table.txt
cmp whole.txt table.txt
# A signal: what runs is saved, the exit code is 3, and it goes on.
rm -r run/full run/-has
mete ablate a.cfg --out run --quiet > table.txt 2> err & pid=$!
sleep 0.06
kill -TERM $pid 2> /dev/null || true
rc=0; wait $pid || rc=$?
[ $rc = 0 ] || { [ $rc = 3 ] && grep -q 'interrupted; what is done stands in run' err; }
! grep -q failed err || exit 1
mete ablate a.cfg --out run --quiet > table.txt
cmp whole.txt table.txt
# The folder is another's.
exec 9>> run/lock
flock 9
echo $$ > run/lock
rc=0; mete ablate a.cfg --out run --quiet 2> err || rc=$?
[ $rc = 1 ]
grep -q "run is in use by process $$" err

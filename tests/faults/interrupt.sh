# SIGINT: the iteration is finished, saved, exit code 3, and resume ends with the same bytes.
set -eu
cat > a.cfg <<'C'
run = { seed = 3; iterations = 400; checkpoint_every = 1000; };
env = { use = "cartpole"; lanes = 8; steps = 64; };
policy = { use = "mlp"; };
reward = { use = "environment"; };
objective = { use = "a2c"; };
C
export OPENBLAS_NUM_THREADS=1
mete run a.cfg --out whole --quiet > /dev/null
mete run a.cfg --out stopped --quiet > /dev/null 2> err & pid=$!
while [ ! -s stopped/metrics.jsonl ]; do sleep 0.01; done
# A second owner is refused while the first lives, and named.
rc=0; mete resume stopped 2> busy || rc=$?
kill -TERM "$pid"
code=0; wait "$pid" || code=$?
[ $rc = 1 ]
grep -q "in use by process $pid" busy
[ $code = 3 ] || { echo "exit status $code"; cat err; exit 1; }
grep -q 'go on with: mete resume stopped' err
mete resume stopped --quiet > /dev/null
cmp whole/metrics.jsonl stopped/metrics.jsonl
cmp whole/checkpoints/00000400/state.safetensors stopped/checkpoints/00000400/state.safetensors
mete resume stopped 2> err
grep -q 'is finished' err
# A folder that holds a run is not taken for another.
rc=0; mete run a.cfg --out whole 2> err || rc=$?
[ $rc = 2 ]
grep -q 'already holds a run' err

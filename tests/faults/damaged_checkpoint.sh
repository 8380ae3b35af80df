# The newest checkpoint is damaged: it is told of, the one before is taken, the end is the same.
set -eu
cat > a.cfg <<'C'
run = { seed = 5; iterations = 20; checkpoint_every = 5; keep = 3; };
env = { use = "cartpole"; lanes = 4; steps = 32; };
policy = { use = "mlp"; };
reward = { use = "environment"; };
objective = { use = "a2c"; };
C
export OPENBLAS_NUM_THREADS=1
mete run a.cfg --out run --quiet > /dev/null
cp -r run whole
printf 'X' | dd of=run/checkpoints/00000020/state.safetensors bs=1 seek=700 conv=notrunc status=none
mete resume run --quiet > /dev/null 2> err
grep -q 'checkpoints/00000020/state.safetensors is damaged' err
cmp whole/metrics.jsonl run/metrics.jsonl
cmp whole/checkpoints/00000020/state.safetensors run/checkpoints/00000020/state.safetensors
# All damaged: refused, nothing is begun anew over what is there.
for f in run/checkpoints/*/manifest.json; do printf '}' >> "$f"; done
rc=0; mete resume run 2> err || rc=$?
[ $rc = 2 ]
grep -q 'none of the 3 checkpoints' err
cmp whole/metrics.jsonl run/metrics.jsonl

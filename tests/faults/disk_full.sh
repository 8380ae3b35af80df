# A disk that fills while a checkpoint is written (a limit on the size of files stands for it): one
# sentence with path and reason, exit code 1, and the checkpoint before stands and is gone on from.
set -eu
cat > a.cfg <<'C'
run = { seed = 5; iterations = 40; checkpoint_every = 5; keep = 3; };
env = { use = "cartpole"; lanes = 4; steps = 32; };
policy = { use = "mlp"; };
reward = { use = "environment"; };
objective = { use = "a2c"; };
C
export OPENBLAS_NUM_THREADS=1
mete run a.cfg --out whole --quiet > /dev/null
size=$(stat -c %s whole/checkpoints/00000040/state.safetensors)
# Metrics pass the limit first or the checkpoint does: either way nothing saved is lost.
blocks=$(( size / 1024 - 1 ))
[ $blocks -ge 1 ] || exit 77
rc=0
(ulimit -f $blocks; mete run a.cfg --out small --quiet > /dev/null 2> err) || rc=$?
[ $rc = 1 ] || { echo "exit status $rc"; cat err; exit 1; }
grep -q 'cannot write small/.*: File too large' err
[ -z "$(ls -A small/checkpoints)" ] || ls small/checkpoints | grep -vq '^\.tmp'
mete resume small --quiet > /dev/null
cmp whole/metrics.jsonl small/metrics.jsonl
cmp whole/checkpoints/00000040/state.safetensors small/checkpoints/00000040/state.safetensors

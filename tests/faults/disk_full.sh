# A disk that fills while a checkpoint is written (a limit on the size of files stands for it): one
# sentence with path and reason, exit code 1, and the checkpoint before stands and is gone on from.
set -eu
cat > a.cfg <<'C'
run = { seed = 5; iterations = 300; checkpoint_every = 5; keep = 3; };
env = { use = "cartpole"; lanes = 4; steps = 32; };
policy = { use = "mlp"; };
reward = { use = "environment"; };
objective = { use = "a2c"; };
C
export OPENBLAS_NUM_THREADS=1
mete run a.cfg --out whole --quiet > /dev/null
mete run a.cfg --out run --quiet > /dev/null & pid=$!
until [ -d run/checkpoints/00000005 ]; do sleep 0.005; done
kill -9 $pid
wait $pid || true
ls run/checkpoints | grep -v tmp > before
newest=$(tail -n 1 before)
[ "$newest" != 00000300 ] || { echo "the run was over before it could be killed"; exit 77; }
cp run/checkpoints/"$newest"/state.safetensors kept
size=$(stat -c %s kept)
blocks=$(( (size - 1) / 1024 ))
rc=0
(ulimit -f $blocks; mete resume run --quiet > /dev/null 2> err) || rc=$?
[ $rc = 1 ] || { echo "exit status $rc"; cat err; exit 1; }
grep -q 'cannot write run/.*: File too large' err
cmp kept run/checkpoints/"$newest"/state.safetensors
! ls -A run/checkpoints | grep -q tmp || exit 1
mete resume run --quiet > /dev/null
cmp whole/metrics.jsonl run/metrics.jsonl
cmp whole/checkpoints/00000300/state.safetensors run/checkpoints/00000300/state.safetensors

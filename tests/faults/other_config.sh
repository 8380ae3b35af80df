# A run is not gone on with under another seed or config than its checkpoint's, unless forced.
set -eu
cat > a.cfg <<'C'
run = { seed = 5; iterations = 300; checkpoint_every = 5; };
env = { use = "cartpole"; lanes = 4; steps = 32; };
policy = { use = "mlp"; };
reward = { use = "environment"; };
objective = { use = "a2c"; };
C
export OPENBLAS_NUM_THREADS=1
mete run a.cfg --out run --quiet > /dev/null & pid=$!
until [ -d run/checkpoints/00000005 ]; do sleep 0.005; done
kill -9 $pid
wait $pid || true
cp run/metrics.jsonl before
grep -q 'seed = 5;' run/config.cfg
sed -i 's/seed = 5;/seed = 6;/' run/config.cfg
rc=0; mete resume run 2> err || rc=$?
[ $rc = 2 ]
[ "$(wc -l < err)" = 1 ]
grep -q 'another seed (5, here 6).*--force' err
cmp before run/metrics.jsonl
sed -i 's/seed = 6;/seed = 5;/; s/keep = [0-9]*/keep = 9/; s/iterations = 300;/iterations = 20;/' run/config.cfg
rc=0; mete resume run 2> err || rc=$?
[ $rc = 2 ]
grep -q 'another config' err
sed -i 's/iterations = 20;/iterations = 300;/' run/config.cfg
mete resume run --quiet > /dev/null

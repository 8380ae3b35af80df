# Killed with -9 at random moments and resumed each time, a run ends with the bytes of one that was
# left alone: metrics, samples and every learnt number. METE_KILLS kills (12; the full suite 50).
set -eu
kills=${METE_KILLS:-12}
cat > a.cfg <<'C'
run = { seed = 7; iterations = 150; checkpoint_every = 3; keep = 2; metrics = [ "csv" ]; };
env = { use = "cartpole"; lanes = 8; steps = 64; };
policy = { use = "mlp"; };
reward = { use = "sum"; of = ( { use = "normalize"; of = ( { use = "environment"; } ); },
    { name = "gold"; use = "environment"; gold = true; } ); };
watch = { };
objective = { use = "ppo"; };
C
export OPENBLAS_NUM_THREADS=1
begin=$(date +%s%N)
mete run a.cfg --out whole --quiet > summary.whole
took=$(( ($(date +%s%N) - begin) / 1000000 ))
mete run a.cfg --out killed --quiet > /dev/null & pid=$!
seed=${METE_SEED:-$$}
n=0
for i in $(seq "$kills"); do
    seed=$(( (seed * 1103515245 + 12345) % 2147483648 ))
    ms=$(( 20 + seed / 65536 % (2 * took / kills + 60) ))
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    if kill -9 "$pid" 2> /dev/null; then n=$((n + 1)); fi
    rc=0; wait "$pid" 2> /dev/null || rc=$?
    [ $rc = 137 ] || [ $rc = 0 ] || { echo "exit status $rc (seed ${METE_SEED:-$$})"; exit 1; }
    if [ ! -f killed/config.cfg ]; then
        mete run a.cfg --out killed --quiet > /dev/null & pid=$!
    else
        mete resume killed --quiet > /dev/null 2>> resumed.err & pid=$!
    fi
done
wait "$pid"
mete resume killed --quiet > summary.killed 2>> resumed.err
test -s summary.killed
cmp whole/metrics.jsonl killed/metrics.jsonl
cmp whole/samples.jsonl killed/samples.jsonl
cmp whole/metrics.csv killed/metrics.csv
cmp whole/checkpoints/00000150/state.safetensors killed/checkpoints/00000150/state.safetensors
[ "$(wc -l < whole/metrics.jsonl)" -ge 150 ]
# A kill right after the last save may leave one checkpoint more than are kept.
[ "$(ls -A killed/checkpoints | grep -c .)" -le 3 ]
echo "$n kills (first seed ${METE_SEED:-$$})"

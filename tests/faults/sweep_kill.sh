# A sweep by successive halving, killed at random moments and called again, ends with the same table.
set -eu
cat > a.cfg <<'C'
run = { iterations = 36; checkpoint_every = 10; };
env = { use = "cartpole"; lanes = 4; steps = 16; };
policy = { use = "mlp"; };
reward = { use = "environment"; };
objective = { use = "a2c"; };
optimiser = { use = "adam"; };
evaluate = { episodes = 4; };
sweep = { over = [ "optimiser.rate=1e-4..1e-1" ]; method = "halving"; trials = 6; eta = 2; };
C
mete sweep a.cfg --out whole --quiet > whole.txt
RANDOM=${METE_FAULT_SEED:-$$}
killed=0
for i in 1 2 3 4 5; do
    mete sweep a.cfg --out run --quiet > table.txt 2> err & pid=$!
    sleep "0.$((RANDOM % 2))$((RANDOM % 9 + 1))"
    if kill -9 $pid 2> /dev/null; then killed=$((killed + 1)); fi
    wait $pid 2> /dev/null || true
done
[ $killed -gt 0 ] || { echo "the sweep was over before it could be killed"; exit 77; }
mete sweep a.cfg --out run --quiet > table.txt
cmp whole.txt table.txt

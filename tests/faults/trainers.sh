#!/bin/bash
# The trainers' own code, from their published packages, over a config: TRL's GRPOTrainer, verl's reward loading and
# manager, OpenRLHF's client of remote rewards against `mete serve`. METE_TRAINERS_PYTHON names a python that has them
# (docs/serve.md); what it lacks is skipped by name. `make check-trainers` runs this alone.
set -e
nm -D "$METE_BUILDDIR/.libs/libmete.so" | grep -q __asan && { echo "a library with a sanitizer is not loaded into python3"; exit 77; }
python="${METE_TRAINERS_PYTHON:-python3}"
export METE_LIBRARY="$METE_BUILDDIR/.libs/libmete.so" PYTHONPATH="$METE_SRCDIR/python" PYTHONDONTWRITEBYTECODE=1
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false CUDA_VISIBLE_DEVICES=
cat > a.cfg <<'C'
run = { seed = 3; };
reward = { use = "sum"; of = (
  { name = "size"; use = "length"; target = 7.0; width = 3.0; },
  { name = "right"; use = "numeric_answer"; weight = 0.3; } ); };
data = { map = { reference = "answer"; }; };
serve = { port = 0; };
C
ran='' missing=''
for trainer in trl verl openrlhf; do
    if "$python" -c "import $trainer" 2> /dev/null; then
        "$python" "$METE_SRCDIR/tests/trainers/with_$trainer.py" > "$trainer.log" 2>&1 || { tail -n 30 "$trainer.log"; exit 1; }
        ran="$ran $trainer"
    else
        missing="$missing $trainer"
    fi
done
[ -z "$missing" ] || { echo "ran:${ran:- none}; not installed for $python:$missing (docs/serve.md says how)"; exit 77; }

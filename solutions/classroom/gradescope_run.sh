#!/usr/bin/env bash
# Gradescope runs this for each submission: one class of one student, and its results.json.
set -euo pipefail
chmod go-rwx "$0"  # it holds the seed
root=${AUTOGRADER_ROOT:-/autograder}
work=$(mktemp -d)
mkdir -p "$work/class" "$root/results"
cp -R --no-dereference "$root/submission" "$work/class/student"
cd "$root/source"
"$root/venv/bin/python" -m checks.grade "$work/class" --layout folders --out "$work/out" --quiet --jobs 1 \
  --lesson LESSON --seed SEED || test -f "$work/out/gradescope/student/LESSON/results.json"
cp --remove-destination "$work/out/gradescope/student/LESSON/results.json" "$root/results/results.json"

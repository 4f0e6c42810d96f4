#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the autograder's image: the sandbox, and the course's packages.
set -euo pipefail
root=${AUTOGRADER_ROOT:-/autograder}
apt-get update -qq
apt-get install -y -qq python3 python3-venv bubblewrap
python3 -m venv "$root/venv"
cd "$root/source"
# no GPU there: torch without CUDA is a tenth of the size
"$root/venv/bin/pip" install --quiet torch torchvision --index-url https://download.pytorch.org/whl/cpu
"$root/venv/bin/pip" install --quiet -r requirements.txt
# for root alone, whichever sandbox can be made there: the reference, what is expected, and the checks
chmod -R go-rwx solutions checks/expected checks/test_*.py run_autograder

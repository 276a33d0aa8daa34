#!/usr/bin/env bash
# What a GPU does: transfers and scores that must agree with the CPU's, and times and memory at the sizes of Llama 2.
#
# Needs Python with torch, transformers, peft and accelerate, and no network. Other packages that lm-eval needs are
# installed from wheels in .whl/ (the repository does not hold them), into a temporary folder. Every part is a process
# of its own with a limit, so that one that fails or hangs does not keep the next from being done; all of them together
# take less than ten minutes.
#
#   PKT_GPU_OUT      folder for one JSON a part, summary.md and log.txt (default: results/gpu)
#   PKT_GPU_DEVICE   torch's name of the device (default: cuda)
#   PKT_GPU_TINY     1: sizes of a minute on a CPU, to try the script itself
#   PKT_GPU_PARTS    which parts (default: all)
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${PKT_GPU_OUT:-results/gpu}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$out/log.txt"
log() { tee -a "$out/log.txt"; }

site=
if compgen -G ".whl/*.whl" > /dev/null; then
  site=$work/site
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" .whl/*.whl \
    2>&1 | log || exit 1
fi
# Two rooms of the package lie beside it in the repository, and it need not be installed here.
house=$(.ci/house) || exit 1
export PYTHONPATH="$PWD/$house${site:+:$site}${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export PKT_GPU_OUT=$out PKT_EVAL_STORE=$work/store TMPDIR=$work HF_HOME=$work/hub
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false TQDM_DISABLE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}

# Seconds after which a part is ended; what it has measured by then is kept.
declare -A limit=([checks]=120 [equality]=100 [extraction]=150 [scoring]=130 [tuning]=45)
ended=()
failed=0
for part in ${PKT_GPU_PARTS:-checks equality extraction scoring tuning}; do
  rm -f "$out/$part.json"
  begin=$SECONDS
  timeout -k 5 "${limit[$part]}" "$python" "benchmarks/gpu/$part.py" 2>&1 | log
  code=${PIPESTATUS[0]}
  ended+=("$part=$code=$((SECONDS - begin))")
  [ "$code" -eq 0 ] || failed=1
done
"$python" benchmarks/gpu/summary.py "${ended[@]}" 2>&1 | log
[ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
exit $failed

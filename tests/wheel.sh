#!/usr/bin/env bash
# Builds the wheel, installs it bare and in full into fresh environments, and tests it there.
set -euo pipefail
python=$1
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
wheel=$(ls "$work"/dist/*.whl)

echo "bare install: msgspec only"
"$python" -m venv "$work/bare"
"$work/bare/bin/pip" install --quiet "$wheel"
installed=$("$work/bare/bin/pip" list --format=freeze | grep -ivE '^(pip|setuptools|wheel|headway|msgspec)[=@ ]' || true)
[ -z "$installed" ] || { echo "the bare wheel brings more than msgspec: $installed"; exit 1; }
(cd "$work" && bare/bin/python -c '
import headway, headway.client, headway.wire.messages, headway.core.scheduler
assert headway.current_run() is None
headway.feedback(True)
')
(cd "$work" && ! bare/bin/headway status 2>"$work/err")
grep -q 'headway\[daemon\]' "$work/err" || { echo "no hint at the daemon extra:"; cat "$work/err"; exit 1; }

echo "full install: the suite from the wheel, less what is slow or reads the source tree"
"$python" -m venv "$work/full"
"$work/full/bin/pip" install --quiet "headway[samples,vllm,encoder] @ file://$wheel" onnx pytest pytest-asyncio pytest-timeout hypothesis
cp -r tests docs README.md "$work"
sed -n '/^\[tool.pytest.ini_options\]/,/^$/p' pyproject.toml >"$work/pyproject.toml"
(cd "$work" && full/bin/python -c '
import headway, pathlib, sys
assert str(pathlib.Path(headway.__file__)).startswith(sys.prefix), headway.__file__
' && full/bin/python -m pytest tests/unit tests/conformance tests/golden tests/integration -m 'not slow' -p no:cacheprovider)

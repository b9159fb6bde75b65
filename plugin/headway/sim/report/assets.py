"""The page's style and its few lines of script."""

STYLE = """
:root { color-scheme: light dark;
  --bg:#fff; --card:#f7f8fa; --ink:#1b1f24; --faint:#667080; --grid:#dde1e6; --ours:#005f9e;
  --tint:#e3f0f9; --rival1:#d55e00; --rival2:#008a66; --rival3:#b8618f; --rival4:#b07c00;
  --rival5:#3f93c4; }
@media (prefers-color-scheme: dark) { :root {
  --bg:#14171b; --card:#1c2026; --ink:#e7eaee; --faint:#98a2b0; --grid:#343b45; --ours:#5db8f5;
  --tint:#173247; --rival1:#f08a3c; --rival2:#2fc29a; --rival3:#dd93bd; --rival4:#e6b13a;
  --rival5:#86c9ee; } }
* { box-sizing:border-box }
body { margin:0 auto; max-width:1180px; padding:28px 24px 80px; background:var(--bg);
  color:var(--ink); font:15px/1.5 system-ui,sans-serif }
h1 { font-size:26px; margin:0 0 4px } h2 { font-size:20px; margin:44px 0 10px }
h3 { font-size:15px; margin:26px 0 8px } p { max-width:80ch } .quiet { color:var(--faint) }
.verdict { background:var(--tint); border-left:4px solid var(--ours); padding:12px 16px;
  font-size:16px; max-width:none }
nav { display:flex; flex-wrap:wrap; gap:4px 18px; margin:16px 0 } a { color:var(--ours) }
.scroll { overflow-x:auto; border:1px solid var(--grid); border-radius:6px; margin:8px 0 18px }
table { border-collapse:collapse; font-size:13px; width:100%;
  font-variant-numeric:tabular-nums }
th,td { padding:4px 10px; text-align:right; white-space:nowrap }
th:first-child,td:first-child { text-align:left; position:sticky; left:0; background:var(--bg) }
td.text,th.text { text-align:left; white-space:normal }
thead th { border-bottom:1px solid var(--grid); color:var(--faint); font-weight:600;
  cursor:pointer; vertical-align:bottom }
thead th[aria-sort=ascending]::after { content:" \\2191" }
thead th[aria-sort=descending]::after { content:" \\2193" }
tbody tr + tr td { border-top:1px solid color-mix(in srgb,var(--grid) 55%,transparent) }
tr.ours td { background:var(--tint) } tr.ours td:first-child { font-weight:700;
  box-shadow:inset 3px 0 var(--ours) } tr.bound td { color:var(--faint); font-style:italic }
td.best { font-weight:800; text-decoration:underline; text-decoration-thickness:2px;
  text-underline-offset:3px }
figure { margin:12px 0 26px } figcaption { color:var(--faint); font-size:13px; max-width:90ch }
figure svg { width:auto; max-width:100%; height:auto; display:block }
dl { display:grid; grid-template-columns:max-content 1fr; gap:3px 18px; margin:0 }
dt { color:var(--faint) } dd { margin:0; overflow-wrap:anywhere }
code { background:var(--card); padding:1px 5px; border-radius:4px; font-size:13px }
details { margin:8px 0 } summary { cursor:pointer; font-weight:600; padding:4px 0 }
"""

SCRIPT = """
for (const head of document.querySelectorAll("thead th")) head.onclick = () => {
  const up = head.getAttribute("aria-sort") !== "ascending";
  const body = head.closest("table").tBodies[0];
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[head.cellIndex].dataset.v ?? row.cells[head.cellIndex].textContent;
  const rows = [...body.rows].sort((a, b) => {
    const x = key(a), y = key(b), gone = (y !== "") - (x !== "");
    if (gone) return gone;
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return up ? order : -order;
  });
  body.append(...rows);
};
"""

"""A map as one HTML page that is looked at node by node; all of it inline, nothing is fetched.

The page counts members; samples are named where that was asked for, and those of a query.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from molsig.evaluate.map_pictures import palette
from molsig.evaluate.page import STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from molsig.reference.map_report import MapReport

TOP = 8
"""Features that are listed of a class or a node."""
LISTED = 13
"""Letters of a head from which on its column is a list."""

_STYLE = """
.maps{display:grid;grid-template-columns:repeat(2,minmax(0,430px)) 17rem;gap:1.1rem 1.4rem;align-items:start}
.maps figure{margin:0}.maps figcaption{font-weight:600;color:#1c2430;margin:0 0 .3rem}
.maps svg{width:100%;height:auto;display:block;border:1px solid #d5dbe3}
#node{grid-column:3;grid-row:1/3;position:sticky;top:1rem;border:1px solid #d5dbe3;padding:.7rem .9rem;min-height:20rem;
font-size:14px}#node h3{margin:.1rem 0 .5rem;font-size:15px}.bar{height:9px;border-radius:2px;min-width:2px}
#node dl{display:grid;grid-template-columns:auto 1fr auto;gap:.2rem .5rem;align-items:center;margin:0}
#node dd{margin:0}#node small{color:#667080;display:block;margin-top:.6rem;overflow-wrap:anywhere}
.keys{display:flex;flex-wrap:wrap;gap:.3rem;margin:.8rem 0}.keys button{border:1px solid #d5dbe3;background:#fff;
border-radius:3px;padding:.1rem .5rem;font:13px system-ui,sans-serif;cursor:pointer}
.keys button[aria-pressed=true]{background:#1c2430;color:#fff}.keys i{display:inline-block;width:10px;height:10px;
margin-right:.35rem}.cell{stroke:#eef1f5;stroke-width:.6}.cell.on{stroke:#111;stroke-width:2.4}
.cell.kept{stroke:#111;stroke-width:1.2}svg.dim .cell:not(.kept){fill-opacity:.16}svg.dim g{opacity:.35}
svg text.name{font-size:11px;font-weight:600;paint-order:stroke;stroke:#fff;stroke-width:3px;fill:#1c2430}
td.features{white-space:normal;text-align:left;min-width:16rem}th.features{text-align:left}.up{color:#b34700}.down{color:#005f99}
tr[data-go]{cursor:pointer}tr[data-go]:hover td{background:#f3f6fa}body{max-width:78rem}
@media(max-width:70rem){.maps{grid-template-columns:1fr}#node{grid-column:1;grid-row:auto;position:static}}
"""

_SCRIPT = """
const data=JSON.parse(document.getElementById('data').textContent),panel=document.getElementById('node');
let pinned=null,chosen=null;
const cells=n=>document.querySelectorAll('.cell[data-n="'+n+'"]');
function line(list,name,n,most,colour){
 const t=document.createElement('dt'),d=document.createElement('dd'),c=document.createElement('span'),
 b=document.createElement('div');t.textContent=name;b.className='bar';b.style.background=colour;
 b.style.width=100*n/most+'%';d.append(b);c.textContent=n;list.append(t,d,c);}
function show(n){
 document.querySelectorAll('.cell.on').forEach(e=>e.classList.remove('on'));cells(n).forEach(e=>e.classList.add('on'));
 const one=data.nodes[n];panel.replaceChildren();const h=document.createElement('h3');
 h.textContent='Node ['+Math.floor(n/data.columns)+', '+n%data.columns+']'+(one.label?': '+one.label:'');
 panel.append(h);
 const p=document.createElement('p');
 p.textContent=one.total?(one.total+' sample'+(one.total>1?'s':'')+(one.label?'':', no majority')+'.'):
 'Nobody lives here: a sample that lands on this node is told nothing.';panel.append(p);
 const list=document.createElement('dl');const most=Math.max(1,...one.members.map(m=>m[1]));
 one.members.forEach(m=>line(list,m[0],m[1],most,data.colours[m[0].replace(/ normal$/,'')]));panel.append(list);
 const s=document.createElement('small');s.textContent='Mean distance to neighbouring nodes '+one.ridge.toFixed(2)+
 (one.samples?'. '+one.samples.join(', '):'');panel.append(s);
 if(one.landed){const q=document.createElement('small');q.textContent='Landed here: '+one.landed.join(', ');
 panel.append(q);}}
document.querySelectorAll('.cell').forEach(e=>{const n=+e.dataset.n;
 e.addEventListener('mouseenter',()=>{if(pinned===null)show(n)});
 e.addEventListener('click',()=>{pinned=pinned===n?null:n;show(n)});});
document.querySelectorAll('.keys button').forEach(b=>b.addEventListener('click',()=>{
 chosen=chosen===b.dataset.label?null:b.dataset.label;
 document.querySelectorAll('.keys button').forEach(o=>o.setAttribute('aria-pressed',o.dataset.label===chosen));
 document.querySelectorAll('.cell').forEach(e=>e.classList.toggle('kept',chosen!==null&&
 data.nodes[+e.dataset.n].members.some(m=>m[0].replace(/ normal$/,'')===chosen)));
 document.querySelectorAll('.maps svg').forEach(s=>s.classList.toggle('dim',chosen!==null));}));
document.querySelectorAll('tr[data-go]').forEach(r=>r.addEventListener('click',()=>{pinned=+r.dataset.go;show(pinned);
 document.querySelector('.maps').scrollIntoView();}));
"""

_CAPTIONS = {
    "neoplastic": "Neoplastic samples",
    "normal": "Non-neoplastic samples",
    "labels": "{label}; squares neoplastic, circles not",
    "ridges": "U-matrix: dark ridges part what differs",
}


def page(report: MapReport, drawn: Mapping[str, str], *, members: bool = False) -> str:
    """The whole page.

    Parameters
    ----------
    drawn
        What `molsig.evaluate.map_pictures.pictures` made.
    members
        Name the samples of each node.
    """
    rows, columns = report.encoder.lattice
    title = f"Map of {report.encoder.modality}"
    figures = "".join(
        f"<figure><figcaption>{escape(_CAPTIONS[name].format(label=report.label))}</figcaption>{picture}</figure>"
        for name, picture in drawn.items()
    )
    colours = palette(report.living(report.types).names)
    keys = "".join(
        f"<button type='button' aria-pressed='false' data-label='{escape(name, quote=True)}'>"
        f"<i style='background:{colour}'></i>{escape(name)}</button>"
        for name, colour in colours.items()
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    data = json.dumps(_data(report, colours, members), separators=(",", ":")).replace("<", "\\u003c")
    named = (
        "This page names samples: treat it as you treat the cohort."
        if members
        else "This page counts samples and names none"
        + (" but those asked about." if report.landings else ".")
        + " A node with a single member still shows what that one is."
    )
    unseen = "" if report.taught else f"The map was made without looking at {report.label}."
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width,initial-scale=1'><style>{STYLE}{_STYLE}</style></head>"
        "<body>"
        f"<h1>{escape(title)}</h1><p class='lead'>{len(report.samples):,} samples, "
        f"{int(report.neoplastic.sum()):,} of them neoplastic, on {rows} x {columns} nodes. Like samples live on one "
        f"node, neighbouring nodes are alike. {escape(unseen)}</p>"
        + (f"<div class='notes'><ul>{notes}</ul></div>" if notes else "")
        + f"<div class='keys'>{keys}</div><div class='maps'>{figures}<aside id='node'><h3>Point at a node</h3>"
        "<p>Who lives there is told here; a click holds it. A label above keeps the nodes where it lives.</p></aside>"
        f"</div>{_landings(report)}{_crowded(report)}{_beside(report)}{_classes(report)}"
        f"<footer>molsig map, {escape(report.encoder.space)}. {named} Research use only, not a medical device.</footer>"
        f"<script type='application/json' id='data'>{data}</script><script>{_SCRIPT}</script></body></html>\n"
    )


def _data(report: MapReport, colours: Mapping[str, str], members: bool) -> dict[str, Any]:
    columns = report.encoder.lattice[1]
    told = report.to_dict(members=members)
    ridges = report.encoder.u_matrix().ravel().tolist()
    nodes: list[dict[str, Any]] = [{"members": [], "total": 0, "ridge": round(one, 3)} for one in ridges]
    unknown = dict.fromkeys(range(len(nodes)), 0)
    for node in report.nodes.tolist():
        unknown[node] += 1
    for one in told["nodes"]:
        place = nodes[number := one["node"][0] * columns + one["node"][1]]
        place["members"] = list(one["members"].items())
        place["total"] = unknown[number]
        place["label"] = one["label"]
        if members:
            place["samples"] = one["samples"]
    for landing in report.landings:
        nodes[landing.row * columns + landing.column].setdefault("landed", []).append(landing.sample)
    return {"columns": columns, "colours": dict(colours), "nodes": nodes}


def _table(head: list[str], body: list[str]) -> str:
    cells = "".join(f"<th{' class=features' if len(one) > LISTED else ''}>{one}</th>" for one in head)
    return f"<div class='wide'><table><tr>{cells}</tr>{''.join(body)}</table></div>"


def _landings(report: MapReport) -> str:
    if not report.landings:
        return ""
    columns = report.encoder.lattice[1]
    body = [
        f"<tr data-go='{one.row * columns + one.column}'><td>{escape(one.sample)}</td>"
        f"<td>[{one.row}, {one.column}]</td>"
        f"<td>{escape(one.label or ('none' if one.fits else 'no node fits'))}</td><td>{one.strangeness:.1%}</td>"
        f"<td class='features'>{escape(one.says())}</td></tr>"
        for one in report.landings
    ]
    head = ["sample", "node", "label there", "stranger than", "who lives there"]
    return (
        "<h2>Where the samples asked about landed</h2><p>Stars on the maps, hollow where no node fits. <i>Stranger "
        "than</i>: share of the samples kept back from the fit that fit their node better.</p>" + _table(head, body)
    )


def _crowded(report: MapReport) -> str:
    if not report.crowded:
        return ""
    columns = report.encoder.lattice[1]
    body = [
        f"<tr data-go='{one.row * columns + one.column}'><td>[{one.row}, {one.column}]</td><td class='features'>"
        f"{escape(', '.join(f'{name} ({n})' for name, n in one.members.items()))}</td>"
        f"<td class='features'>{_trends(one.shared)}</td><td class='features'>{_trends(one.average_only)}</td></tr>"
        for one in report.crowded
    ]
    head = ["node", "classes (samples)", "shared by all there", "shared on average, not there"]
    return (
        "<h2>Nodes where three or more classes meet</h2><p>Inputs that make up the first 75 % of the latent code of "
        f"every class there, the {TOP} largest; an arrow where the samples of the node lie above, or below, the "
        "average of their class in each of them.</p>" + _table(head, body)
    )


def _trends(features: tuple[tuple[str, str], ...]) -> str:
    arrows = {"up": "<span class='up'>&uarr;</span>", "down": "<span class='down'>&darr;</span>", "": ""}
    more = f" and {len(features) - TOP} more" if len(features) > TOP else ""
    return ", ".join(f"{escape(name)}{arrows[trend]}" for name, trend in features[:TOP]) + more


def _beside(report: MapReport) -> str:
    """Tumour and normal of one label."""
    if report.activations is None:
        return ""
    found = report.activations
    pairs = [name for name in found.classes if f"{name} normal" in found.classes]
    if not pairs:
        return ""
    body = []
    for name in pairs:
        both = found.beside(name, f"{name} normal")
        body.append(
            f"<tr><td>{escape(name)}</td>"
            + "".join(f"<td class='features'>{escape(', '.join(some)) or 'none'}</td>" for some in both.values())
            + "</tr>"
        )
    return "<h2>Tumour beside normal</h2><p>Inputs among the ten that the latent code rests on most.</p>" + _table(
        ["", "of both of them", "of the tumours only", "of the normals only"], body
    )


def _classes(report: MapReport) -> str:
    if report.activations is None:
        return ""
    found = report.activations
    body = []
    for name, n in zip(found.classes, found.samples, strict=True):
        features = ", ".join(
            f"{escape(one['feature'])}<span class='{'up' if one['value'] > 0 else 'down'}'>"
            f"{'&uarr;' if one['value'] > 0 else '&darr;'}</span>"
            for one in found.top(name, TOP)
        )
        body.append(f"<tr><td>{escape(name)}</td><td>{n:,}</td><td class='features'>{features}</td></tr>")
    return (
        "<h2>What the latent code of each class rests on</h2><p>Activation gradients, averaged over the samples of a "
        "class; arrows: above or below the mean of all samples.</p>"
        + _table(["class", "samples", "its first inputs"], body)
    )

"""The style of the dashboard."""

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #111; background: #fff;
  margin: 1.2em auto; padding: 0 1em; max-width: 110em; }
h1 { font-size: 1.4em; margin: .3em 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15em; margin: 1.6em 0 .4em; }
h3 { font-size: 1em; margin: 1.2em 0 .3em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3em .6em; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top; }
thead th { border-bottom: 2px solid #111; vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 9em; max-width: 18em; }
tbody tr:hover > * { background: #eef4fa; }
.studies { width: 100%; }
.scroll { overflow-x: auto; max-width: 100%; }
.whole, .number { white-space: nowrap; } td.number { text-align: right; }
.comparison th, .comparison td { text-align: left; } .comparison td.number { text-align: right; }
td.state { min-width: 11em; max-width: 26em; } .line { font-size: .87em; overflow-wrap: anywhere; }
span.state { font-weight: 600; } .finished::before { content: "\\2713\\00A0"; color: #0072B2; }
.partial::before { content: "\\25D0\\00A0"; color: #8a5a00; }
span.broken::before { content: "\\2715\\00A0"; } .broken { color: #A33A00; }
td.open { min-width: 9em; } td.open a { margin-right: .6em; } details { margin: .1em 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
a { color: #00558a; } code { font-size: .93em; }
.words { max-width: 60em; color: #444; font-size: .93em; }
.choose { display: none; } .js .choose { display: table-cell; width: 2em; }
.js .needs-script { display: block; }
[hidden] { display: none !important; }
.needs-script { display: none; } .choose input { width: 1.15em; height: 1.15em; margin: .15em 0; }
th button { font: inherit; font-weight: 600; border: 0; padding: 0; background: none; color: inherit;
  cursor: pointer; text-align: inherit; }
th button:hover { text-decoration: underline; }
th button::after { content: "\\00A0\\2195"; color: #999; font-weight: 400; }
th[aria-sort=ascending] button::after { content: "\\00A0\\25B4"; color: inherit; }
th[aria-sort=descending] button::after { content: "\\00A0\\25BE"; color: inherit; }
.controls { display: flex; flex-wrap: wrap; gap: .4em 1.2em; align-items: center; margin: .5em 0; }
select, input[type=search] { font: inherit; padding: .15em .3em; max-width: 100%; }
.verdict-higher, .verdict-lower { font-weight: 600; }
.verdict-higher { color: #00558a; } .verdict-lower { color: #A33A00; }
.verdict-higher::before { content: "\\25B2\\00A0"; } .verdict-lower::before { content: "\\25BC\\00A0"; }
.remark { font-size: .82em; color: #555; }
.jump { position: sticky; bottom: 0; margin: 0 -1em; padding: .5em 1em; background: #eef4fa;
  border-top: 1px solid #9bb8d0; }
/* On a phone, each row becomes a card, and the heads become a row of buttons that sort the cards. */
@media (max-width: 700px) {
  body { margin: .6em auto; padding: 0 .6em; }
  .cards, .cards thead, .cards tbody, .cards tr, .cards tbody th { display: block; }
  .cards thead tr { display: flex; flex-wrap: wrap; gap: .1em .9em; border-bottom: 2px solid #111; }
  .cards thead th { border: 0; padding: .2em 0; } .cards thead th:not([data-sort]) { display: none; }
  .cards tbody tr { border-bottom: 1px solid #999; padding: .45em 0; }
  .cards tbody th, .cards tbody td { border: 0; padding: .1em 0; max-width: none; min-width: 0; }
  .cards tbody td { display: flex; justify-content: space-between; gap: 1em; text-align: right; }
  .cards tbody td[data-label]::before { content: attr(data-label); color: #555; text-align: left;
    white-space: normal; min-width: 5.5em; }
  .cards tbody td.none { display: none !important; }
  .cards tbody td.state, .cards tbody td.open { display: block; text-align: left; }
  .js .cards tbody td.choose { float: left; width: 1.9em; text-align: left; }
  .cards tbody td.state { clear: both; }
  .jump { margin: 0 -.6em; padding: .5em .6em; }
}
"""

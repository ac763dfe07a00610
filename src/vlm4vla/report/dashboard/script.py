"""The script of the dashboard: it sorts, filters and shows numbers. It computes none of them."""

SCRIPT = r"""
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const make = (name, text, kind) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
document.documentElement.classList.add('js');

// Sorting: by `data-key`, else by the text. Cells without a value stay last.
const key = cell => (cell.dataset.key ?? cell.textContent).trim();
const orders = {
  number: (a, b) => Number(a) - Number(b),
  text: (a, b) => a.localeCompare(b, 'en', {numeric: true}),
};
const empty = text => text === '' || text === '\u2013';
function sortable(table) {
  table.querySelectorAll('thead th[data-sort]').forEach(head => {
    const button = make('button', head.textContent);
    button.type = 'button';
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const up = head.getAttribute('aria-sort') !== 'ascending', at = head.cellIndex, body = table.tBodies[0];
      table.querySelectorAll('thead th').forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const rows = [...body.rows].map(row => [key(row.cells[at]), row]);
      rows.sort(([a], [b]) =>
        empty(a) || empty(b) ? empty(a) - empty(b) : (up ? 1 : -1) * orders[head.dataset.sort](a, b));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
document.querySelectorAll('table').forEach(sortable);

// The comparison of the chosen studies.
const goal = document.getElementById('chosen'), hint = document.querySelector('.needs-script');
const jump = document.querySelector('.jump'), link = jump.querySelector('a');
const boxes = [...document.querySelectorAll('.studies input')];
let baseline = null, benchmark = '', only = false, words = '';
const picked = () => boxes.filter(box => box.checked).map(box => box.value)
  .sort((a, b) => Number(a) - Number(b));
const label = place => data.studies[place].label;

function choice(text, values, value, change) {
  const field = make('label', text + ' '), select = make('select');
  values.forEach(([name, shown]) => {
    const option = make('option', shown);
    option.value = name;
    select.append(option);
  });
  select.value = value;
  select.addEventListener('change', () => change(select.value));
  field.append(select);
  return field;
}

function controls(places, benchmarks) {
  const row = make('div', undefined, 'controls');
  row.append(choice('baseline', places.map(place => [place, label(place)]), baseline, value => {
    baseline = value;
    show();
  }));
  row.append(choice('benchmark', [['', 'all'], ...benchmarks.map(name => [name, name])], benchmark, value => {
    benchmark = value;
    tables(places);
  }));
  const told = make('label', ' only cells told apart'), box = make('input');
  box.type = 'checkbox';
  box.checked = only;
  box.addEventListener('change', () => { only = box.checked; tables(places); });
  told.prepend(box);
  row.append(told);
  const field = make('label', 'filter '), search = make('input');
  search.type = 'search';
  search.placeholder = 'backbone, task, variant';
  search.value = words;
  search.addEventListener('input', () => { words = search.value; tables(places); });
  field.append(search);
  row.append(field);
  return row;
}

function show() {
  const places = picked();
  goal.replaceChildren();
  hint.hidden = places.length > 1;
  jump.hidden = !places.length || shown;
  link.textContent = places.length < 2 ? '1 study chosen: choose another one' :
    places.length + ' studies chosen: to their comparison';
  if (places.length < 2) return;
  if (!places.includes(baseline)) baseline = places[0];
  const scored = n => places.some(place => n in data.studies[place].scores);
  const numbers = data.cells.map((_, n) => n).filter(scored);
  const benchmarks = [...new Set(numbers.map(n => data.cells[n][0]))];
  if (!benchmarks.includes(benchmark)) benchmark = '';
  goal.append(controls(places, benchmarks));
  const list = make('ul');
  places.filter(place => place !== baseline).forEach(place =>
    list.append(make('li', data.pairs[baseline + '-' + place].about)));
  goal.append(list, make('div', undefined, 'tables'), make('p',
    'In brackets: 95 % intervals. Differences, tests and intervals are those of vlm4vla compare, with the '
    + 'baseline as A. Higher and lower: told apart at the 5 % level after Holm\u2019s correction over all '
    + 'cells of one pair of studies; the correction does not cover several pairs. Not told apart does not '
    + 'mean equal.',
    'words'));
  tables(places);
}

function tables(places) {
  const others = places.filter(place => place !== baseline), place = goal.querySelector('.tables');
  place.replaceChildren();
  const wanted = words.toLowerCase();
  const groups = new Map();
  data.cells.forEach((names, n) => {
    if (!places.some(place => n in data.studies[place].scores)) return;
    if (benchmark && names[0] !== benchmark) return;
    if (wanted && !names.slice(1).join(' ').toLowerCase().includes(wanted)) return;
    const told = others.some(other => {
      const row = data.pairs[baseline + '-' + other].rows[n];
      return row && (row[4] === 'higher' || row[4] === 'lower');
    });
    if (only && !told) return;
    groups.set(names[0], [...(groups.get(names[0]) ?? []), n]);
  });
  if (!groups.size) place.append(make('p', 'No cell fits these choices.'));
  groups.forEach((numbers, name) => {
    place.append(make('h3', name));
    const scroll = make('div', undefined, 'scroll'), table = make('table', undefined, 'comparison cards');
    const head = make('tr'), body = make('tbody');
    const tuned = numbers.some(n => data.cells[n][2]), several = others.length > 1;
    const columns = [
      ['backbone', 'text'], ...(tuned ? [['auxiliary task', 'text']] : []), ['variant', 'text'],
      ...[baseline, ...others].map(place => [label(place), 'number']),
      ...others.map(other => [several ? label(other) + ' minus baseline' : 'difference', 'number']),
    ];
    columns.forEach(([text, kind]) => {
      const cell = make('th', text);
      cell.dataset.sort = kind;
      head.append(cell);
    });
    numbers.forEach(n => {
      const row = line(n, others, tuned);
      columns.slice(1).forEach(([text], at) => { row.cells[at + 1].dataset.label = text; });
      body.append(row);
    });
    const top = make('thead');
    top.append(head);
    table.append(top, body);
    sortable(table);
    scroll.append(table);
    place.append(scroll);
  });
}

function line(n, others, tuned) {
  const row = make('tr'), names = data.cells[n], none = '\u2013';
  row.append(make('th', names[1]));
  if (tuned) row.append(make('td', names[2] || none, names[2] ? '' : 'none'));
  row.append(make('td', names[3]));
  const number = (text, value) => {
    const cell = make('td', text, text === none ? 'number none' : 'number');
    cell.dataset.key = value;
    row.append(cell);
  };
  [baseline, ...others].forEach(place => number(...(data.studies[place].scores[n] ?? [none, ''])));
  others.forEach(other => {
    const found = data.pairs[baseline + '-' + other].rows[n];
    if (!found) {
      const missing = make('td', none, 'none');
      missing.dataset.key = '';
      row.append(missing);
      return;
    }
    const cell = make('td', undefined, 'verdict'), inside = make('div'), remark = make('div', '', 'remark');
    cell.dataset.key = found[1];
    remark.append(make('span', found[7], 'whole'), '; ' + found[8]);
    inside.append(make('div', found[0], 'whole'),
      make('div', found[4], 'whole verdict-' + found[4].replaceAll(' ', '-')), remark);
    cell.append(inside);
    row.append(cell);
  });
  return row;
}

// The way down to the comparison, while it is out of sight.
let shown = false;
new IntersectionObserver(([seen]) => {
  shown = seen.isIntersecting;
  jump.hidden = !picked().length || shown;
}).observe(goal);
boxes.forEach(box => box.addEventListener('change', show));
show();
"""

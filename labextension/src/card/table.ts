import { Json, list, object, text } from '../contract';
import { element } from '../dom';

const MOST_ROWS = 500;
const MOST_COLUMNS = 200;

/** A table block. The rows that were left out are those in the middle. */
export function drawTable(block: Json): HTMLElement {
  const columns = list(block.columns, MOST_COLUMNS).map(object);
  const rights = columns.map(column => column.align === 'right');
  const given = list(block.rows, Infinity);
  const rows = given.slice(0, MOST_ROWS).map(row => list(row, MOST_COLUMNS));
  const more = Number.isSafeInteger(block.more) ? Math.max(0, block.more as number) : 0;
  const left = more + given.length - rows.length;
  const body = element('tbody', {}, ...rows.map(row => drawRow(row, rights)));
  if (left > 0) {
    const said = element('td', { colspan: `${Math.max(1, columns.length)}`, class: 'qnb-more' }, `… ${left} more …`);
    body.insertBefore(element('tr', {}, said), body.children[Math.floor(rows.length / 2)] ?? null);
  }
  const head = element('tr', {}, ...columns.map((column, at) => cell('th', text(column.name), rights[at])));
  const caption = text(block.caption);
  const table = element('table', { class: 'qnb-Table' }, element('thead', {}, head), body);
  if (caption) {
    table.prepend(element('caption', {}, caption));
  }
  // Wide tables scroll by themselves, with the keyboard too.
  return element('div', { class: 'qnb-scroll', tabindex: '0', role: 'region', 'aria-label': caption || 'Table' }, table);
}

function drawRow(row: unknown[], rights: boolean[]): HTMLElement {
  return element('tr', {}, ...row.map((value, at) => cell('td', text(value), rights[at])));
}

function cell(tag: 'th' | 'td', words: string, right: boolean): HTMLElement {
  const attributes: { [name: string]: string } = tag === 'th' ? { scope: 'col' } : {};
  return element(tag, { ...attributes, class: right ? 'qnb-right' : 'qnb-left' }, words);
}

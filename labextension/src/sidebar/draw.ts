import { drawMark, stageNumbers } from '../card/ladder';
import { statusWords } from '../contract';
import { button, element, spoken } from '../dom';
import { IEntry, IFollowed, IStep } from './follow';

export interface IActions {
  jump(cell: string): void;
  addNext(code: string, after: string): void;
}

export function drawFollowed(found: IFollowed, notebook: string, actions: IActions): HTMLElement[] {
  const { model, target, tolerance } = found.workflow;
  const rows: [string, string][] = [['notebook', notebook], ['target', target], ['tolerance', tolerance]];
  const facts = element('dl', { class: 'qnb-Facts' });
  for (const [name, value] of rows.filter(([, value]) => value)) {
    facts.append(element('dt', {}, name), element('dd', {}, value));
  }
  return [
    element('h2', { class: 'qnb-Sidebar-title' }, model || 'Workflow'),
    facts,
    element('ol', { class: 'qnb-Steps', 'aria-label': 'Stages' }, ...found.steps.map(step => drawStep(step, actions))),
    ...drawNext(found, actions)
  ];
}

function drawStep(step: IStep, actions: IActions): HTMLElement {
  const only = step.runs.length === 1 && step.runs[0].run === step.run;
  const item = element('li', { class: 'qnb-Step', 'data-status': step.status, 'data-stage': step.stage });
  if (only) {
    item.append(drawRow(step.runs[0], step.title, actions, `run:${step.run}`));
    return item;
  }
  item.append(drawRow({ ...step, metric: '', drop: '', size: '' }, step.title, actions, `stage:${step.stage}`));
  if (step.text) {
    item.append(element('div', { class: 'qnb-Step-text' }, step.text));
  }
  if (step.runs.length) {
    const rows = step.runs.map(run => drawRow(run, run.run || run.title, actions, `run:${run.run}`));
    const items = rows.map(row => element('li', {}, row));
    item.append(element('ul', { class: 'qnb-Runs', 'aria-label': `Runs: ${step.title}` }, ...items));
  }
  return item;
}

function drawRow(entry: IEntry, title: string, actions: IActions, key: string): HTMLElement {
  const named = entry.run && entry.run.toLowerCase() !== title.toLowerCase() ? `${entry.run}: ` : '';
  const numbers = stageNumbers(entry);
  return target(entry, actions, key, [
    drawMark(entry),
    element('span', { class: 'qnb-Stage-title' }, title),
    element('span', { class: 'qnb-Stage-status' }, statusWords(entry)),
    ...(numbers ? [drawNumbers(named, numbers)] : [])
  ]);
}

/** There is little room: that the first number is the metric is only spoken. */
function drawNumbers(named: string, numbers: string): HTMLElement {
  const [, label, rest] = /^(metric\u00a0)?(.*)$/.exec(numbers) ?? ['', '', numbers];
  return element('span', { class: 'qnb-Stage-numbers' }, named, label ? spoken(label) : null, rest ?? '');
}

/** A row; a button where there is a cell to go to. `data-key` lets the focus survive a redraw. */
function target(entry: IEntry, actions: IActions, key: string, parts: HTMLElement[]): HTMLElement {
  if (!entry.cell) {
    return element('div', { class: 'qnb-Row' }, ...parts);
  }
  const row = element('button', { type: 'button', class: 'qnb-Row qnb-Jump', 'data-key': key, title: 'Go to the cell' });
  // Blanks between the parts: a screen reader runs them together otherwise.
  parts.forEach(part => row.append(part, ' '));
  row.addEventListener('click', () => actions.jump(entry.cell));
  return row;
}

function drawNext({ next, nextCell }: IFollowed, actions: IActions): HTMLElement[] {
  if (!next) {
    return [];
  }
  const parts: HTMLElement[] = [
    element('h3', { class: 'qnb-Sidebar-heading' }, `Next: ${next.title}`),
    element('p', { class: 'qnb-Text' }, next.reason)
  ];
  if (next.code) {
    const add = button('Add next step', () => actions.addNext(next.code, nextCell), '', 'qnb-primary');
    add.setAttribute('data-key', 'next');
    add.title = 'Adds a cell with this code; it does not run it';
    parts.push(element('pre', { class: 'qnb-Code-text' }, next.code), add);
  }
  return [element('section', { class: 'qnb-Next', 'aria-label': 'Next step' }, ...parts)];
}

const FIRST_STEPS = 'flow = qnb.Workflow(…)\nflow.check()\nflow.run("fp16")';

/** What to do where there is nothing to show. */
export function drawEmpty(open: boolean, tutorial: (() => void) | null): HTMLElement[] {
  const said = open
    ? ['No results yet', 'This notebook has no qnb results yet. Create a workflow and run its first step:']
    : ['No notebook is open', 'Open a notebook to follow its quantization workflow here, or begin with a tutorial.'];
  const parts: HTMLElement[] = [
    element('h2', { class: 'qnb-Sidebar-title' }, said[0]),
    element('p', { class: 'qnb-Text' }, said[1])
  ];
  if (open) {
    parts.push(
      element('pre', { class: 'qnb-Code-text' }, FIRST_STEPS),
      element('p', { class: 'qnb-Text' }, 'Each step then appears here, with the next step.')
    );
  }
  if (tutorial) {
    parts.push(button('Open the first tutorial', tutorial, '', 'qnb-primary'));
  }
  return parts;
}

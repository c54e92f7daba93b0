/** The data contract with qnb's Python side (qnb/document.py), read tolerantly: any field may be missing. */

export const MIME = 'application/vnd.qnb.v1+json';
export const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
export const PLOTLY_MIME = 'application/vnd.plotly.v1+json';
export const VERSION = 1;

export type Json = { [name: string]: unknown };

export interface IStage {
  stage: string;
  title: string;
  state: string;
  mark: string;
  run: string;
  metric: string;
  drop: string;
  size: string;
  text: string;
}

export interface INext {
  what: string;
  why: string;
  code: string;
}

export interface IWorkflow {
  variable: string;
  model: string;
  target: string;
  tolerance: string;
}

export interface IDocument {
  version: number;
  kind: string;
  title: string;
  tone: string;
  blocks: Json[];
  workflow: IWorkflow | null;
  stages: IStage[];
  runs: IStage[];
  next: INext[];
}

export const TONES = ['neutral', 'good', 'warn', 'bad'];
export const STATES = ['ok', 'fail', 'undecided', 'todo', 'reference'];

const WORDS: { [state: string]: string } = {
  ok: 'within tolerance',
  fail: 'fails',
  undecided: 'undecided',
  todo: 'to do',
  reference: 'reference'
};

/** A stage's state in words; a check has no tolerance to be within. */
export function stateWords(stage: IStage): string {
  if (stage.state === 'ok' && stage.stage === 'check') {
    return 'passed';
  }
  return WORDS[stage.state] ?? '';
}

export function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? `${value}` : '';
}

export function oneOf(value: unknown, allowed: string[]): string {
  return allowed.includes(text(value)) ? text(value) : allowed[0];
}

export function readStage(value: unknown): IStage {
  const found = object(value);
  const [stage, run] = [text(found.stage), text(found.run)];
  return {
    stage,
    run,
    title: text(found.title) || run || stage,
    state: STATES.includes(text(found.state)) ? text(found.state) : 'todo',
    mark: [...text(found.mark)][0] ?? '·',
    metric: text(found.metric),
    drop: text(found.drop),
    size: text(found.size),
    text: text(found.text)
  };
}

function readNext(value: unknown): INext {
  const found = object(value);
  return { what: text(found.what), why: text(found.why), code: text(found.code) };
}

function readWorkflow(value: unknown): IWorkflow | null {
  const found = object(value);
  if (Object.keys(found).length === 0) {
    return null;
  }
  const { variable, model, target, tolerance } = found;
  return { variable: text(variable), model: text(model), target: text(target), tolerance: text(tolerance) };
}

export function readDocument(value: unknown): IDocument {
  const found = object(value);
  return {
    version: typeof found.version === 'number' ? found.version : VERSION,
    kind: text(found.kind),
    title: text(found.title) || 'qnb',
    tone: oneOf(found.tone, TONES),
    blocks: list(found.blocks).map(object),
    workflow: readWorkflow(found.workflow),
    stages: list(found.stages).map(readStage),
    runs: list(found.runs).map(readStage),
    next: list(found.next).map(readNext)
  };
}

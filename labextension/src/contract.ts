/**
 * The data contract with qnb's Python side (qnb/document.py, and as a schema qnb/document_schema.py), read tolerantly:
 * any field may be missing, and of another type. Documents may come from strangers: what is read here is text, and
 * bounded.
 */

export const MIME = 'application/vnd.qnb.v2+json';
export const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
export const PLOTLY_MIME = 'application/vnd.plotly.v1+json';
export const VERSION = 2;
/** Nothing that qnb writes comes near these; more would only stop the page. */
const LONGEST_TEXT = 10_000;
const LONGEST_CODE = 200_000;
const MOST = 2_000;
/** Not seen, or turn the order of others around: what is read would not be what is copied and run. */
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

export type Json = { [name: string]: unknown };

export interface IStage {
  stage: string;
  title: string;
  status: string;
  mark: string;
  run: string;
  metric: string;
  drop: string;
  size: string;
  text: string;
}

export interface INext {
  title: string;
  reason: string;
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
export const STATUSES = ['pass', 'fail', 'unclear', 'todo', 'reference'];

const WORDS: { [status: string]: string } = {
  pass: 'pass',
  fail: 'fail',
  unclear: 'unclear',
  todo: 'to do',
  reference: 'reference'
};

/** A stage's status in words; a check has no tolerance to be within. */
export function statusWords(stage: IStage): string {
  if (stage.status === 'pass' && stage.stage === 'check') {
    return 'passed';
  }
  return WORDS[stage.status] ?? '';
}

export function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

/** The first so many of a list. */
export function list(value: unknown, most = MOST): unknown[] {
  return Array.isArray(value) ? value.slice(0, most) : [];
}

export function text(value: unknown, longest = LONGEST_TEXT): string {
  const found = typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? `${value}` : '';
  const kept = found.length > longest ? `${found.slice(0, longest)} …` : found;
  return kept.replace(/\r\n?/g, '\n').replace(UNSEEN, '\ufffd');
}

/** Code to copy or insert: whole, or none. */
export function codeText(value: unknown): string {
  return typeof value === 'string' && value.length > LONGEST_CODE ? '' : text(value, LONGEST_CODE);
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
    status: STATUSES.includes(text(found.status)) ? text(found.status) : 'todo',
    mark: [...text(found.mark)][0] ?? '·',
    metric: text(found.metric),
    drop: text(found.drop),
    size: text(found.size),
    text: text(found.text)
  };
}

function readNext(value: unknown): INext {
  const found = object(value);
  return { title: text(found.title), reason: text(found.reason), code: codeText(found.code) };
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

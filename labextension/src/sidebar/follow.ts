/** From a notebook's documents to what the sidebar shows. Pure: documents in, state out. */
import { INext, IStage, IWorkflow, readStage } from '../contract';
import { IFound } from './collect';

export interface IEntry extends IStage {
  /** The cell to jump to; empty where there is none. */
  cell: string;
}

export interface IStep extends IEntry {
  runs: IEntry[];
}

export interface IFollowed {
  workflow: IWorkflow;
  steps: IStep[];
  next: INext | null;
  nextCell: string;
}

const STAGES: [string, string, string][] = [
  ['check', 'Check', 'does the model export, and what is in it?'],
  ['fp16', 'FP16', 'is half precision enough?'],
  ['w16a16', 'W16A16', 'the baseline: does the simulation agree with FP32?'],
  ['reduce', 'Reduce', 'how few bits keep the metric?'],
  ['restore', 'Restore', 'recover the accuracy'],
  ['deploy', 'Deploy', 'measure on the target']
];
const EMPTY: IWorkflow = { variable: '', model: '', target: '', tolerance: '' };

/** Null where the notebook has no documents. */
export function follow(found: IFound[]): IFollowed | null {
  if (found.length === 0) {
    return null;
  }
  const last = new Follower();
  found.forEach(one => last.take(one));
  return last.followed();
}

/** Takes documents one after the other; the latest word on anything counts. */
class Follower {
  take(found: IFound): void {
    const { document, cell } = found;
    if (document.workflow) {
      this.identify(document.workflow);
    }
    for (const stage of document.stages) {
      this.stages.set(stage.stage, { ...stage, cell: '' });
    }
    if (document.kind === 'check') {
      this.check(found);
    }
    for (const run of document.runs) {
      this.run(run, cell, document.kind === 'run', document.stages.length > 0);
    }
    if (document.next.length) {
      // A next step without code has nothing to add.
      [this.next, this.nextCell] = [document.next.find(next => next.code) ?? document.next[0], cell];
    }
  }

  followed(): IFollowed {
    const steps = STAGES.map(([stage, title, ask]) => this.step(stage, title, ask));
    return { workflow: this.workflow, steps, next: this.next, nextCell: this.nextCell };
  }

  /** Another model is another workflow; what was found for the one before is not about it. */
  private identify(given: IWorkflow): void {
    if (given.model && this.workflow.model && given.model !== this.workflow.model) {
      this.workflow = EMPTY;
      this.stages.clear();
      this.runs.clear();
      this.own.clear();
      [this.next, this.nextCell] = [null, ''];
    }
    const said = Object.entries(given).filter(([, value]) => value !== '');
    this.workflow = { ...this.workflow, ...Object.fromEntries(said) };
  }

  private check({ document, cell }: IFound): void {
    const failed = document.tone === 'bad';
    const stage = { stage: 'check', status: failed ? 'fail' : 'pass', mark: failed ? '✗' : '✓', title: 'Check' };
    this.stages.set('check', { ...readStage({ ...stage, text: document.title.replace(/^[✓✗]\s*/, '') }), cell });
    this.own.set('check', cell);
  }

  private run(run: IStage, cell: string, own: boolean, staged: boolean): void {
    const key = run.run || run.title;
    if (own) {
      this.own.set(key, cell);
    }
    this.runs.delete(key); // the latest stands last
    this.runs.set(key, { ...run, cell });
    if (!staged) {
      this.stages.delete(run.stage); // what an earlier summary said of this stage is out of date
    }
  }

  private step(stage: string, title: string, ask: string): IStep {
    const runs = [...this.runs.values()]
      .filter(run => run.stage === stage)
      .map(run => ({ ...run, cell: this.own.get(run.run || run.title) ?? run.cell }));
    const said = this.stages.get(stage) ?? standsFor(runs) ?? readStage({ stage, text: ask });
    const cell = this.own.get(said.run || stage) ?? runs.find(run => run.run === said.run)?.cell ?? '';
    return { ...said, title, cell, runs };
  }

  private workflow = EMPTY;
  private stages = new Map<string, IEntry>();
  private runs = new Map<string, IEntry>();
  /** Cells that are about one run, or the check, alone: better to jump to than a summary. */
  private own = new Map<string, string>();
  private next: INext | null = null;
  private nextCell = '';
}

/** The run that a stage shows: the latest within tolerance, else the latest unclear, else the latest. */
function standsFor(runs: IEntry[]): IEntry | undefined {
  const latest = [...runs].reverse();
  const found = latest.find(run => run.status === 'pass') ?? latest.find(run => run.status === 'unclear') ?? latest[0];
  return found && { ...found, text: found.text && `${found.run}: ${found.text}` };
}

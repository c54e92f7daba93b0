import { CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel, KernelMessage } from '@jupyterlab/services';

import { object } from '../contract';
import { Bar, IProgress, readProgress } from './bar';

const MIME = 'application/vnd.qnb.progress.v1+json';
const TARGET = 'qnb.progress';
const PATIENCE_MS = 1000;
const GONE = ['restarting', 'autorestarting', 'dead', 'terminating', 'unknown'];

/** Shows a bar in the cell of each step that a kernel tells of. The notebook's outputs know nothing of it. */
export function followProgress(notebooks: INotebookTracker): void {
  const follow = (panel: NotebookPanel) => void new Follower(panel);
  notebooks.forEach(follow);
  notebooks.widgetAdded.connect((_, panel) => follow(panel));
}

class Follower {
  constructor(private panel: NotebookPanel) {
    const { sessionContext } = panel;
    sessionContext.iopubMessage.connect(this.onMessage, this);
    sessionContext.kernelChanged.connect(this.clear, this);
    sessionContext.statusChanged.connect(this.onStatus, this);
    panel.disposed.connect(this.clear, this);
  }

  private onMessage(_: unknown, message: KernelMessage.IMessage): void {
    if (message.header.msg_type !== 'update_display_data') {
      return;
    }
    const found = readProgress(object(object(message.content).data)[MIME]);
    if (!found) {
      return;
    }
    if (found.answer) {
      this.answer();
    }
    if (found.state === 'ended') {
      this.remove(found.id);
    } else {
      this.show(found);
    }
  }

  /** A kernel that takes it up only after the cell may get it after many bars: once is enough. */
  private answer(): void {
    const kernel = this.kernel;
    if (kernel && this.answered !== kernel.id) {
      this.answered = kernel.id;
      void tell(kernel, {});
    }
  }

  private show(found: IProgress): void {
    let bar = this.bars.get(found.id);
    if (!bar) {
      const cell = this.panel.content.widgets.find(one => one.model.id === found.cell);
      if (!(cell instanceof CodeCell)) {
        return;
      }
      bar = new Bar(cell, () => void this.cancel(found.id));
      this.bars.set(found.id, bar);
    }
    bar.draw(found);
  }

  /** Graceful where the kernel listens while it works. */
  private async cancel(id: string): Promise<void> {
    const kernel = this.kernel;
    if (kernel && !(await tell(kernel, { cancel: id }))) {
      await kernel.interrupt();
    }
  }

  private remove(id: string): void {
    this.bars.get(id)?.remove();
    this.bars.delete(id);
  }

  private clear(): void {
    this.answered = '';
    [...this.bars.keys()].forEach(id => this.remove(id));
  }

  private onStatus(_: unknown, status: Kernel.Status): void {
    if (GONE.includes(status)) {
      this.clear();
    }
  }

  private get kernel(): Kernel.IKernelConnection | null | undefined {
    return this.panel.sessionContext.session?.kernel;
  }

  private bars = new Map<string, Bar>();
  private answered = '';
}

/** Whether the kernel takes this up while it works; it closes the comm when it has. */
async function tell(kernel: Kernel.IKernelConnection, data: { cancel?: string }): Promise<boolean> {
  if (!kernel.handleComms) {
    return false; // another notebook with the same kernel has its comms
  }
  const comm: Kernel.IComm & { subshellStarted?: Promise<void> } = kernel.createComm(TARGET);
  const started = comm.subshellStarted?.then(() => true).catch(() => false);
  const late = new Promise<boolean>(resolve => setTimeout(resolve, PATIENCE_MS, false));
  const beside = Boolean(kernel.supportsSubshells && started && (await Promise.race([started, late])));
  comm.open(data);
  return beside;
}

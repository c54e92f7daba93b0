import { CodeCell } from '@jupyterlab/cells';

import { object, text } from '../contract';
import { button, element } from '../dom';

/** What the kernel tells of a step (qnb/workflow/jobs/progress_cell.py). */
export interface IProgress {
  id: string;
  cell: string;
  state: string;
  answer: boolean;
  title: string;
  text: string;
  percent: number | null;
  left: string;
}

export function readProgress(value: unknown): IProgress | null {
  const found = object(value);
  const { percent } = found;
  const [id, cell] = [text(found.id), text(found.cell)];
  return id && found.version === 1
    ? {
        id,
        cell,
        state: text(found.state),
        answer: found.answer === true,
        title: text(found.title),
        text: text(found.text),
        percent: typeof percent === 'number' && percent >= 0 ? Math.min(percent, 99) : null,
        left: text(found.left)
      }
    : null;
}

/** One line between a cell's code and its output: how far, what, time left, Cancel. */
export class Bar {
  constructor(cell: CodeCell, cancel: () => void) {
    this.cancel = button('Cancel', () => {
      this.cancelling = true;
      this.cancel.disabled = true;
      this.what.textContent = 'cancelling …';
      this.left.textContent = '';
      cancel();
    });
    this.node.append(this.track, this.what, this.left, this.cancel);
    const output = cell.node.querySelector('.jp-Cell-outputWrapper');
    if (output) {
      output.before(this.node);
    } else {
      cell.node.append(this.node);
    }
    // A cell that has run has no step in it, even if the kernel's last word was lost.
    this.unfollow = () => cell.model.stateChanged.disconnect(onState);
    const onState = () => {
      if ((cell.model as { executionState?: string }).executionState === 'idle') {
        this.remove();
      }
    };
    cell.model.stateChanged.connect(onState);
  }

  draw(progress: IProgress): void {
    const { percent } = progress;
    this.node.title = progress.title;
    this.track.classList.toggle('qnb-unknown', percent === null);
    this.track.setAttribute('aria-label', progress.text);
    if (percent === null) {
      this.track.removeAttribute('aria-valuenow');
      this.full.style.width = '';
    } else {
      this.track.setAttribute('aria-valuenow', `${percent}`);
      this.full.style.width = `${percent}%`;
    }
    if (!this.cancelling) {
      this.what.textContent = progress.text;
      this.left.textContent = progress.left;
    }
  }

  remove(): void {
    this.unfollow();
    this.node.remove();
  }

  private node = element('div', { class: 'qnb-Progress' });
  private full = element('div', { class: 'qnb-Progress-full' });
  private track = element(
    'div',
    { class: 'qnb-Progress-track', role: 'progressbar', 'aria-valuemin': '0', 'aria-valuemax': '100' },
    this.full
  );
  private what = element('span', { class: 'qnb-Progress-what' });
  private left = element('span', { class: 'qnb-Progress-left' });
  private cancel: HTMLButtonElement;
  private cancelling = false;
  private unfollow: () => void;
}

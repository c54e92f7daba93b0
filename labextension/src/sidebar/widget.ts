import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Message } from '@lumino/messaging';
import { Debouncer } from '@lumino/polling';
import { Widget } from '@lumino/widgets';

import { qnbIcon } from '../icons';
import { insertCode } from '../insert';
import { collect } from './collect';
import { IActions, drawEmpty, drawFollowed } from './draw';
import { follow } from './follow';

const PAUSE_MS = 250;

/** Follows the workflow of the notebook that was active last. */
export class Sidebar extends Widget implements IActions {
  constructor(
    private notebooks: INotebookTracker,
    private bringUp: (panel: NotebookPanel) => void
  ) {
    super();
    this.id = 'qnb-sidebar';
    this.addClass('qnb-Sidebar');
    this.title.icon = qnbIcon;
    this.title.caption = 'Quantization';
    this.node.setAttribute('role', 'complementary');
    this.node.setAttribute('aria-label', 'Quantization');
    notebooks.currentChanged.connect(this.onNotebook, this);
    this.onNotebook();
  }

  /** Opens the first tutorial; null until the tutorials are known. */
  set tutorial(open: (() => void) | null) {
    this.openTutorial = open;
    this.drawn = '';
    this.later();
  }

  jump(cell: string): void {
    const panel = this.panel;
    const at = this.position(cell);
    if (panel && at >= 0) {
      this.bringUp(panel);
      panel.content.deselectAll();
      panel.content.activeCellIndex = at;
      void panel.content.scrollToItem(at, 'start');
    }
  }

  /** Below the active cell, and never above the cell whose result gave the next step. */
  addNext(code: string, after: string): void {
    const panel = this.panel;
    if (panel) {
      panel.content.activeCellIndex = Math.max(panel.content.activeCellIndex, this.position(after));
      this.bringUp(panel);
      void insertCode(panel, code);
    }
  }

  dispose(): void {
    this.pause.dispose();
    super.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.redraw();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.redraw();
  }

  private position(cell: string): number {
    return this.panel?.content.widgets.findIndex(widget => widget.model.id === cell) ?? -1;
  }

  private onNotebook(): void {
    this.panel?.context.model.contentChanged.disconnect(this.later, this);
    this.panel?.context.pathChanged.disconnect(this.later, this);
    this.panel = this.notebooks.currentWidget;
    this.panel?.context.model.contentChanged.connect(this.later, this);
    this.panel?.context.pathChanged.connect(this.later, this);
    void this.panel?.context.ready.then(() => this.later());
    this.later();
  }

  private later(): void {
    if (this.isVisible) {
      void this.pause.invoke();
    }
  }

  private redraw(): void {
    const panel = this.panel?.isDisposed ? null : this.panel;
    const model = panel?.content.model;
    const found = model ? follow(collect(model)) : null;
    const name = panel?.context.path.split('/').pop() ?? '';
    const state = JSON.stringify([found, name, Boolean(panel)]);
    if (state === this.drawn) {
      return;
    }
    this.drawn = state;
    this.replace(found ? drawFollowed(found, name, this) : drawEmpty(panel !== null, this.openTutorial));
  }

  private replace(parts: HTMLElement[]): void {
    const focused = document.activeElement;
    const key = focused && this.node.contains(focused) ? focused.getAttribute('data-key') : null;
    this.node.replaceChildren(...parts);
    if (key) {
      this.node.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)?.focus();
    }
  }

  private pause = new Debouncer(() => this.redraw(), PAUSE_MS);
  private panel: NotebookPanel | null = null;
  private openTutorial: (() => void) | null = null;
  private drawn = '';
}

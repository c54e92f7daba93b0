import { NotebookPanel } from '@jupyterlab/notebook';
import { MimeModel } from '@jupyterlab/rendermime';
import { Kernel } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import { WIDGET_MIME } from '../contract';

/** Waits for a widget's view in a notebook and hands it over once it is really there. */
export class LiveView implements IDisposable {
  constructor(
    private panel: NotebookPanel,
    private id: string,
    private ready: (view: Widget) => void
  ) {
    void this.start();
  }

  /** Whether the view has been handed over. */
  shown = false;
  isDisposed = false;

  dispose(): void {
    this.isDisposed = true;
    this.observer.disconnect();
    this.view?.dispose();
    this.view = null;
  }

  private async start(): Promise<void> {
    // The notebook's own registry: the global one has no factory for widgets.
    const { rendermime } = this.panel.content;
    try {
      if (!rendermime.mimeTypes.includes(WIDGET_MIME) || !(await knows(this.panel, this.id)) || this.isDisposed) {
        return;
      }
      const view = rendermime.createRenderer(WIDGET_MIME);
      this.view = view;
      this.observer.observe(view.node, { childList: true });
      // A copy: ipywidgets writes into the model when a view is disposed.
      const source = { model_id: this.id, version_major: 2, version_minor: 0 };
      await view.renderModel(new MimeModel({ trusted: true, data: { [WIDGET_MIME]: source } }));
      this.look();
    } catch (error) {
      console.debug('qnb shows the stored form of a result:', error);
      this.dispose();
    }
  }

  /** A message ("Loading widget...", "Error displaying widget: ...") is text; a view is an element. */
  private look(): void {
    const child = this.view?.node.firstElementChild;
    if (this.shown || this.isDisposed || !this.view || !child || isError(this.view.node)) {
      return;
    }
    this.shown = true;
    this.observer.disconnect();
    this.ready(this.view);
  }

  private observer = new MutationObserver(() => this.look());
  private view: Widget | null = null;
}

function isError(node: HTMLElement): boolean {
  return /^\s*Error (displaying|creating) widget|model not found/i.test(node.textContent ?? '');
}

/**
 * Whether the kernel has the widget. A busy kernel answers only when it has finished, and is most likely the one
 * that has just made it.
 */
async function knows(panel: NotebookPanel, id: string): Promise<boolean> {
  const kernel: Kernel.IKernelConnection | null | undefined = panel.sessionContext.session?.kernel;
  if (!kernel || kernel.status === 'dead') {
    return false;
  }
  if (kernel.status === 'busy') {
    return true;
  }
  const { content } = await kernel.requestCommInfo({ target_name: 'jupyter.widget' });
  return content.status === 'ok' && id in content.comms;
}

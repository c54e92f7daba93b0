import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { CardView } from '../card/view';
import { MIME, WIDGET_MIME, object, readDocument, text } from '../contract';
import { Settings } from '../settings';
import { LiveView } from './view';

const GONE = ['restarting', 'autorestarting', 'dead', 'terminating'];

/** Draws a document's static form, and puts the live widget in its place once that is there. */
export class DocumentRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(
    rendermime: IRenderMimeRegistry,
    private notebooks: INotebookTracker | null,
    private settings: Settings
  ) {
    super();
    this.addClass('qnb-Output');
    this.card = new CardView(rendermime);
    this.panels = new PanelLayout();
    this.layout = this.panels;
    this.panels.addWidget(this.card);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.backToStatic();
    this.card.draw(readDocument(model.data[MIME]));
    const id = text(object(model.data[WIDGET_MIME]).model_id);
    this.wanted = model.trusted && id ? id : '';
    this.goLive();
  }

  dispose(): void {
    this.follow(null);
    super.dispose();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.goLive();
  }

  /** The panel is known only once this stands in it. Nobody waits for the live view: it may never come. */
  private goLive(): void {
    const panel = this.isAttached ? this.notebooks?.find(one => one.node.contains(this.node)) : null;
    if (!panel || !this.wanted || this.live || !this.settings.liveView) {
      return;
    }
    this.follow(panel);
    this.live = new LiveView(panel, this.wanted, view => this.replace(view));
  }

  private replace(view: Widget): void {
    this.card.hide();
    this.panels.addWidget(view);
  }

  private backToStatic(): void {
    this.live?.dispose();
    this.live = null;
    this.card.show();
  }

  private follow(panel: NotebookPanel | null): void {
    const [before, now] = [this.panel?.sessionContext, panel?.sessionContext];
    before?.kernelChanged.disconnect(this.onKernelGone, this);
    before?.statusChanged.disconnect(this.onStatus, this);
    now?.kernelChanged.connect(this.onKernelGone, this);
    now?.statusChanged.connect(this.onStatus, this);
    this.panel = panel;
  }

  private onStatus(_: unknown, status: string): void {
    if (GONE.includes(status)) {
      this.onKernelGone();
    }
  }

  /** The next kernel does not know this widget. */
  private onKernelGone(): void {
    if (this.live?.shown) {
      this.wanted = '';
    }
    this.backToStatic();
    this.goLive();
  }

  private card: CardView;
  private panels: PanelLayout;
  private panel: NotebookPanel | null = null;
  private live: LiveView | null = null;
  private wanted = '';
}

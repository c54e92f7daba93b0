import { PathExt } from '@jupyterlab/coreutils';
import { DocumentRegistry } from '@jupyterlab/docregistry';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { PanelLayout, Widget } from '@lumino/widgets';

import { drawExtras } from '../card/card';
import { drawCode } from '../card/code';
import { CardView } from '../card/view';
import { element } from '../dom';
import { Unreadable, readFile } from './read';

/** A `.qnb` file, to read. */
export class Dashboard extends Widget {
  constructor(
    rendermime: IRenderMimeRegistry,
    private context: DocumentRegistry.Context
  ) {
    super();
    this.addClass('qnb-Dashboard');
    this.node.tabIndex = 0;
    this.view = new CardView(rendermime);
    const layout = new PanelLayout();
    this.layout = layout;
    layout.addWidget(this.view);
    void context.ready.then(() => {
      context.model.contentChanged.connect(this.draw, this);
      this.draw();
    });
  }

  private draw(): void {
    if (this.isDisposed) {
      return;
    }
    const name = PathExt.basename(this.context.path);
    try {
      const found = readFile(this.context.model.toString());
      const card = this.view.draw(found, 1);
      drawExtras(found, card);
      card.append(drawCode('To continue in a notebook:', `flow = qnb.load(${JSON.stringify(name)})`));
    } catch (error) {
      this.view.node.replaceChildren(drawProblem(name, error));
    }
  }

  private view: CardView;
}

function drawProblem(name: string, error: unknown): HTMLElement {
  const [what, remedy] =
    error instanceof Unreadable ? [error.message, error.remedy] : [`It cannot be shown: ${error}`, 'Update qnb.'];
  return element(
    'section',
    { class: 'qnb-Card qnb-tone-bad', role: 'alert' },
    element('div', { class: 'qnb-Card-title', role: 'heading', 'aria-level': '1' }, `${name} cannot be shown`),
    element('p', { class: 'qnb-Text' }, what),
    element('p', { class: 'qnb-Text' }, `To fix: ${remedy}`)
  );
}

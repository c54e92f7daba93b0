import { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import { MessageLoop } from '@lumino/messaging';
import { Layout, Widget } from '@lumino/widgets';

import { PLOTLY_MIME, object } from '../contract';
import { element } from '../dom';
import { cleanFigure, height } from '../sanitize';

/** Each is a Plotly of its own. */
const MOST_FIGURES = 200;

export type DrawFigure = (figure: unknown, alt: string) => HTMLElement;

/** Holds the figures of a card: wherever they stand in it, they hear when it is attached, shown or resized. */
export class FigureLayout extends Layout {
  constructor(private rendermime: IRenderMimeRegistry) {
    super();
  }

  *[Symbol.iterator](): IterableIterator<Widget> {
    yield* this.figures;
  }

  removeWidget(widget: Widget): void {
    this.figures = this.figures.filter(figure => figure !== widget);
  }

  clear(): void {
    this.figures.slice().forEach(figure => figure.dispose());
  }

  dispose(): void {
    this.clear();
    super.dispose();
  }

  draw: DrawFigure = (figure, alt) => {
    const said = alt || 'Chart';
    const box = element('div', { class: 'qnb-Figure', role: 'img', 'aria-label': said });
    if (this.figures.length >= MOST_FIGURES) {
      box.textContent = said;
      return box;
    }
    box.style.minHeight = `${height(object(figure).layout)}px`;
    if (this.rendermime.mimeTypes.includes(PLOTLY_MIME)) {
      void this.render(figure, box, said);
    } else {
      box.textContent = `${said} (to draw it, JupyterLab needs plotly: pip install plotly)`;
    }
    return box;
  };

  private async render(figure: unknown, box: HTMLElement, said: string): Promise<void> {
    const renderer = this.rendermime.createRenderer(PLOTLY_MIME);
    this.figures.push(renderer);
    renderer.parent = this.parent;
    box.append(renderer.node);
    if (this.parent?.isAttached) {
      MessageLoop.sendMessage(renderer, Widget.Msg.AfterAttach);
    }
    try {
      await renderer.renderModel(new MimeModel({ data: { [PLOTLY_MIME]: cleanFigure(figure) as never } }));
    } catch (error) {
      box.textContent = `${said} (Plotly could not draw it: ${error})`;
    }
  }

  private figures: Widget[] = [];
}

import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { Widget } from '@lumino/widgets';

import { IDocument } from '../contract';
import { drawCard } from './card';
import { FigureLayout } from './figure';

/** The static form as a widget. */
export class CardView extends Widget {
  constructor(rendermime: IRenderMimeRegistry) {
    super();
    this.addClass('qnb-CardView');
    this.figures = new FigureLayout(rendermime);
    this.layout = this.figures;
  }

  draw(found: IDocument, level = 3): HTMLElement {
    this.figures.clear();
    const card = drawCard(found, this.figures.draw, level);
    this.node.replaceChildren(card);
    return card;
  }

  private figures: FigureLayout;
}

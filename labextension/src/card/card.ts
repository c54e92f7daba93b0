import { IDocument, INext, VERSION } from '../contract';
import { element } from '../dom';
import { drawBlock } from './blocks';
import { drawCode } from './code';
import { DrawFigure } from './figure';
import { drawLadder } from './ladder';

const TONE_WORDS: { [tone: string]: string } = { good: 'Good', warn: 'Warning', bad: 'Problem' };

/** The static form of a document: needs no kernel. `level` is the level of its heading in the page's outline. */
export function drawCard(found: IDocument, drawFigure: DrawFigure, level = 3): HTMLElement {
  const title = element('div', { class: 'qnb-Card-title', role: 'heading', 'aria-level': `${level}` }, found.title);
  const card = element('section', { class: `qnb-Card qnb-tone-${found.tone}`, 'aria-label': found.title }, title);
  if (TONE_WORDS[found.tone]) {
    title.append(element('span', { class: 'qnb-spoken' }, ` (${TONE_WORDS[found.tone]})`));
  }
  if (found.version > VERSION) {
    card.append(
      element('p', { class: 'qnb-Text' }, 'This result was made by a newer qnb. To see all of it: pip install --upgrade qnb')
    );
    return card;
  }
  for (const block of found.blocks) {
    const drawn = drawBlock(block, drawFigure);
    if (drawn) {
      card.append(drawn);
    }
  }
  return card;
}

/** What a dashboard shows beside the blocks: the ladder and the next steps where the blocks have none. */
export function drawExtras(found: IDocument, card: HTMLElement): void {
  const has = (type: string) => found.blocks.some(block => block.type === type);
  if (found.version > VERSION) {
    return;
  }
  if (found.stages.length && !has('ladder')) {
    card.firstElementChild?.after(drawLadder(found.stages));
  }
  if (found.next.length && !has('code')) {
    card.append(...found.next.slice(0, 2).map((next: INext) => drawCode(`Next: ${next.title}. ${next.reason}`, next.code)));
  }
}

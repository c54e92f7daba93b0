import { Json, TONES, codeText, list, oneOf, readStage, text } from '../contract';
import { element } from '../dom';
import { drawCode } from './code';
import { DrawFigure } from './figure';
import { drawLadder } from './ladder';
import { drawTable } from './table';

/** One block; null for a type that this version does not know. */
export function drawBlock(block: Json, drawFigure: DrawFigure): HTMLElement | null {
  switch (block.type) {
    case 'facts':
      return drawFacts(list(block.rows).map(row => list(row)));
    case 'table':
      return drawTable(block);
    case 'text':
      return element('p', { class: `qnb-Text qnb-tone-${oneOf(block.tone, TONES)}` }, text(block.text));
    case 'code':
      return drawCode(text(block.label), codeText(block.code));
    case 'figure':
      return drawFigure(block.figure, text(block.alt));
    case 'ladder':
      return drawLadder(list(block.stages).map(readStage));
    default:
      return null;
  }
}

function drawFacts(rows: unknown[][]): HTMLElement {
  const facts = element('dl', { class: 'qnb-Facts' });
  for (const [name, value] of rows) {
    facts.append(element('dt', {}, text(name)), element('dd', {}, text(value)));
  }
  return facts;
}

import { IStage, statusWords } from '../contract';
import { element } from '../dom';

/** The workflow's stages as an ordered list. */
export function drawLadder(stages: IStage[]): HTMLElement {
  return element('ol', { class: 'qnb-Ladder' }, ...stages.map(drawStage));
}

function drawStage(stage: IStage): HTMLElement {
  const numbers = stageNumbers(stage);
  return element(
    'li',
    { class: 'qnb-Stage', 'data-status': stage.status },
    drawMark(stage),
    element('span', { class: 'qnb-Stage-title' }, stage.title),
    element('span', { class: 'qnb-Stage-status' }, statusWords(stage)),
    numbers ? element('span', { class: 'qnb-Stage-numbers' }, numbers) : null,
    stage.text ? element('span', { class: 'qnb-Stage-text' }, stage.text) : null
  );
}

/** Its colour says the same as the words beside it. */
export function drawMark(stage: IStage): HTMLElement {
  return element('span', { class: `qnb-Mark qnb-status-${stage.status}`, 'aria-hidden': 'true' }, stage.mark);
}

export function stageNumbers(stage: IStage): string {
  const { metric, drop, size } = stage;
  const parts = [metric && `metric ${metric}`, drop && `drop ${drop}`, size].filter(Boolean);
  // Lines break between the parts only.
  return parts.map(part => part.replaceAll(' ', '\u00a0')).join('\u00a0· ');
}

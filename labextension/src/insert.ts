import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';

import { codeText, object } from './contract';

const EVENT = 'qnb:insert-code';

/** Put a code cell with `code` below the active one, not run, and show it. */
export async function insertCode(panel: NotebookPanel, code: string): Promise<void> {
  const notebook = panel.content;
  NotebookActions.insertBelow(notebook);
  if (notebook.activeCell?.model.type !== 'code') {
    NotebookActions.changeCellType(notebook, 'code');
  }
  notebook.activeCell?.model.sharedModel.setSource(code);
  await notebook.scrollToItem(notebook.activeCellIndex, 'auto');
}

/** Panels ask with an event on the document; a canceled event tells them that the code has been taken. */
export function listenForCode(notebooks: INotebookTracker, current: () => NotebookPanel | null): void {
  document.addEventListener(EVENT, event => {
    const code = codeText(object((event as CustomEvent).detail).code);
    const panel = current();
    if (code && panel && notebooks.has(panel)) {
      event.preventDefault();
      void insertCode(panel, code);
    }
  });
}

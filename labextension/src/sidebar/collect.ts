import { ICellModel, ICodeCellModel } from '@jupyterlab/cells';
import { INotebookModel } from '@jupyterlab/notebook';

import { IDocument, MIME, VERSION, readDocument } from '../contract';

/** A document and the cell whose output it is. */
export interface IFound {
  cell: string;
  document: IDocument;
}

/** The notebook's documents in the order of its cells; they are stored with it, so no kernel is needed. */
export function collect(model: INotebookModel): IFound[] {
  const found: IFound[] = [];
  for (const cell of model.cells) {
    if (isCode(cell)) {
      for (const document of documentsOf(cell)) {
        found.push({ cell: cell.id, document });
      }
    }
  }
  return found.filter(({ document }) => document.version <= VERSION);
}

function isCode(cell: ICellModel): cell is ICodeCellModel {
  return cell.type === 'code';
}

function documentsOf(cell: ICodeCellModel): IDocument[] {
  const outputs = Array.from({ length: cell.outputs.length }, (_, at) => cell.outputs.get(at));
  return outputs.filter(output => output.data[MIME] !== undefined).map(output => readDocument(output.data[MIME]));
}

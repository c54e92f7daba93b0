import { JupyterFrontEnd } from '@jupyterlab/application';
import { ICommandPalette, showErrorMessage } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';

import { text } from '../contract';
import { qnbIcon } from '../icons';
import { Saver } from './save';
import { IShipped, listShipped } from './shipped';

export const CATEGORY = 'Quantization';

export interface IPlaces {
  launcher: ILauncher | null;
  palette: ICommandPalette | null;
  browser: IDefaultFileBrowser | null;
}

/** A command for each notebook that comes with qnb; resolves to the one that opens the first tutorial. */
export async function addNotebooks(app: JupyterFrontEnd, places: IPlaces): Promise<string | null> {
  const [templates, tutorials] = [await listShipped('templates'), await listShipped('tutorials')];
  const saver = new Saver(app.serviceManager, tutorials);
  const commands = [...templates, ...tutorials].map((one, rank) => addNotebook(app, places, saver, one, rank));
  return commands[templates.length] ?? null;
}

function addNotebook(app: JupyterFrontEnd, places: IPlaces, saver: Saver, shipped: IShipped, rank: number): string {
  const isNew = shipped.kind === 'templates';
  const command = `qnb:${isNew ? 'new' : 'open'}-${shipped.file.replace('.ipynb', '')}`;
  const name = isNew ? shipped.label || shipped.title : shipped.title;
  app.commands.addCommand(command, {
    label: args => (args.isPalette ? `${isNew ? 'New Notebook' : 'Tutorial'}: ${name}` : isNew ? `New: ${name}` : name),
    caption: isNew ? `${shipped.title}: a new notebook from a template` : `Tutorial: ${shipped.title}`,
    icon: qnbIcon,
    execute: async args => {
      const folder = text(args.cwd) || (places.browser?.model.path ?? '');
      await open(app, saver, shipped, folder);
    }
  });
  places.launcher?.add({ command, category: CATEGORY, rank });
  places.palette?.addItem({ command, category: CATEGORY, args: { isPalette: true } });
  return command;
}

async function open(app: JupyterFrontEnd, saver: Saver, shipped: IShipped, folder: string): Promise<void> {
  try {
    const { kind } = shipped;
    const path = await (kind === 'templates' ? saver.template(shipped, folder) : saver.tutorial(shipped, folder));
    await app.commands.execute('docmanager:open', { path });
  } catch (error) {
    const where = folder || 'the top folder';
    const remedy = 'Choose a folder in the file browser that you may write to, and try again.';
    await showErrorMessage(`${shipped.file} could not be opened`, `In ${where}: ${said(error)} ${remedy}`);
  }
}

function said(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /[.!?]$/.test(message) ? message : `${message}.`;
}

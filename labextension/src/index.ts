import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { MIME } from './contract';
import { addFileType } from './file/factory';
import { listenForCode } from './insert';
import { CATEGORY, IPlaces, addNotebooks } from './launcher/commands';
import { DocumentRenderer } from './live/renderer';
import { followProgress } from './progress/follow';
import { PLUGIN, Settings } from './settings';
import { placeSidebar } from './sidebar/place';
import { Sidebar } from './sidebar/widget';

const RANK = -20; // before ipywidgets, which is -10
const SHOW = 'qnb:show-sidebar';

/** What JupyterLab lends, in the order of `requires` and `optional` below; any optional one may be missing. */
async function activate(
  app: JupyterFrontEnd,
  rendermime: IRenderMimeRegistry,
  notebooks: INotebookTracker | null,
  registry: ISettingRegistry | null,
  restorer: ILayoutRestorer | null,
  launcher: ILauncher | null,
  palette: ICommandPalette | null,
  browser: IDefaultFileBrowser | null
): Promise<void> {
  const settings = new Settings();
  const createRenderer = () => new DocumentRenderer(rendermime, notebooks, settings);
  rendermime.addFactory({ safe: true, mimeTypes: [MIME], createRenderer }, RANK);
  addFileType(app, rendermime, restorer);
  if (notebooks) {
    followProgress(notebooks);
  }
  const sidebar = notebooks && addSidebar(app, notebooks, palette);
  void offerNotebooks(app, { launcher, palette, browser }, sidebar);
  // JupyterLab restores its layout after this; the sidebar has to be in its place by then.
  await (registry && settings.load(registry).catch(error => console.warn('qnb uses its default settings:', error)));
  if (sidebar) {
    placeSidebar(app, sidebar, settings, restorer);
  }
}

function addSidebar(app: JupyterFrontEnd, notebooks: INotebookTracker, palette: ICommandPalette | null): Sidebar {
  listenForCode(notebooks, () => activeNotebook(app, notebooks));
  const sidebar = new Sidebar(notebooks, panel => app.shell.activateById(panel.id));
  app.commands.addCommand(SHOW, {
    label: 'Show Quantization Sidebar',
    isEnabled: () => sidebar.parent !== null,
    execute: () => app.shell.activateById(sidebar.id)
  });
  palette?.addItem({ command: SHOW, category: CATEGORY });
  return sidebar;
}

async function offerNotebooks(app: JupyterFrontEnd, places: IPlaces, sidebar: Sidebar | null): Promise<void> {
  try {
    const first = await addNotebooks(app, places);
    if (first && sidebar) {
      sidebar.tutorial = () => void app.commands.execute(first);
    }
  } catch (error) {
    console.warn('qnb offers no notebooks in the launcher:', error);
  }
}

/** The notebook a person is in; null while something else is in front. */
function activeNotebook(app: JupyterFrontEnd, notebooks: INotebookTracker): NotebookPanel | null {
  const current = app.shell.currentWidget;
  return current instanceof NotebookPanel && notebooks.has(current) ? current : null;
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: "Shows qnb's results, follows the workflow, opens .qnb files",
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [INotebookTracker, ISettingRegistry, ILayoutRestorer, ILauncher, ICommandPalette, IDefaultFileBrowser],
  activate
};

export default plugin;

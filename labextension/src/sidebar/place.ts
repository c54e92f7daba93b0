import { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';

import { Settings } from '../settings';
import { Sidebar } from './widget';

const RANK = 850;

/** Keeps the sidebar where the settings say. */
export function placeSidebar(
  app: JupyterFrontEnd,
  sidebar: Sidebar,
  settings: Settings,
  restorer: ILayoutRestorer | null
): void {
  let at = 'off';
  const place = () => {
    if (settings.sidebar === at) {
      return;
    }
    at = settings.sidebar;
    if (at === 'off') {
      sidebar.parent = null;
    } else {
      app.shell.add(sidebar, at, { rank: RANK });
    }
  };
  settings.changed.connect(place);
  place();
  restorer?.add(sidebar, sidebar.id);
}

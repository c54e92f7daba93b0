import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ISignal, Signal } from '@lumino/signaling';

import { text } from './contract';

export const PLUGIN = 'qnb:plugin';
export type Area = 'left' | 'right' | 'off';

/** The settings as they are now; the defaults until (or where) none can be read. */
export class Settings {
  sidebar: Area = 'right';
  liveView = true;

  get changed(): ISignal<this, void> {
    return this.signal;
  }

  async load(registry: ISettingRegistry): Promise<void> {
    const found = await registry.load(PLUGIN);
    const read = () => {
      const area = text(found.composite.sidebar);
      this.sidebar = area === 'left' || area === 'off' ? area : 'right';
      this.liveView = found.composite.liveView !== false;
      this.signal.emit();
    };
    found.changed.connect(read);
    read();
  }

  private signal = new Signal<this, void>(this);
}

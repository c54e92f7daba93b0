import { PathExt } from '@jupyterlab/coreutils';
import { Contents, KernelSpec, ServiceManager } from '@jupyterlab/services';

import { Json, list, object } from '../contract';
import { IShipped, fetchNotebook } from './shipped';

/** Saves shipped notebooks in a folder, for a kernel that is there. */
export class Saver {
  constructor(
    private services: ServiceManager.IManager,
    private tutorials: IShipped[]
  ) {}

  /** A new notebook, under a name that is free; returns its path. */
  async template(shipped: IShipped, folder: string): Promise<string> {
    const name = free(shipped.file, await names(this.services.contents, folder));
    await this.save(await fetchNotebook(shipped), folder, name);
    return PathExt.join(folder, name);
  }

  /** A tutorial and those it links to, each unless it is there; returns its path. */
  async tutorial(shipped: IShipped, folder: string): Promise<string> {
    const there = await names(this.services.contents, folder);
    const wanted = [shipped];
    for (const one of wanted) {
      const content = await fetchNotebook(one);
      wanted.push(...this.tutorials.filter(other => !wanted.includes(other) && links(content, other.file)));
      if (!there.has(one.file)) {
        await this.save(content, folder, one.file);
      }
    }
    return PathExt.join(folder, shipped.file);
  }

  private async save(content: Json, folder: string, name: string): Promise<void> {
    await this.services.kernelspecs.ready;
    const metadata = withKernel(object(content.metadata), this.services.kernelspecs.specs);
    const path = PathExt.join(folder, name);
    await this.services.contents.save(path, { type: 'notebook', format: 'json', content: { ...content, metadata } });
  }
}

/** Whether a notebook's text has a link to a file beside it. */
function links(content: Json, file: string): boolean {
  return JSON.stringify(list(content.cells).map(cell => object(cell).source)).includes(`](${file})`);
}

async function names(contents: Contents.IManager, folder: string): Promise<Set<string>> {
  const listing = await contents.get(folder, { content: true });
  return new Set((listing.content as Contents.IModel[]).map(file => file.name));
}

function free(file: string, there: Set<string>): string {
  const stem = PathExt.basename(file, '.ipynb');
  let name = file;
  for (let count = 1; there.has(name); count++) {
    name = `${stem}-${count}.ipynb`;
  }
  return name;
}

/** Names a Python kernel, so that JupyterLab does not ask for one. */
function withKernel(metadata: Json, specs: KernelSpec.ISpecModels | null): Json {
  const all = Object.values(specs?.kernelspecs ?? {});
  const python = all.filter(spec => spec?.language === 'python');
  const chosen = python.find(spec => spec?.name === specs?.default) ?? python[0];
  const { qnb: _, ...kept } = metadata;
  if (!chosen) {
    return kept;
  }
  const { name, display_name, language } = chosen;
  return { ...kept, kernelspec: { name, display_name, language } };
}

import { PageConfig, URLExt } from '@jupyterlab/coreutils';

import { Json, list, object, text } from '../contract';

export type Kind = 'templates' | 'tutorials';

export interface IShipped {
  kind: Kind;
  file: string;
  title: string;
  label: string;
}

/** The notebooks that come with the extension: static files beside it, listed when it is built. */
export async function listShipped(kind: Kind): Promise<IShipped[]> {
  const found = list(await fetchJson(kind, 'index.json')).map(object);
  return found
    .map(entry => ({ kind, file: text(entry.file), title: text(entry.title), label: text(entry.label) }))
    .filter(entry => /^[\w.-]+\.ipynb$/.test(entry.file));
}

export async function fetchNotebook({ kind, file }: IShipped): Promise<Json> {
  return object(await fetchJson(kind, file));
}

/** Read as the page reads the extension's own scripts: by its cookie, from wherever they are served. */
async function fetchJson(kind: Kind, file: string): Promise<unknown> {
  const base = new URL(PageConfig.getOption('fullLabextensionsUrl'), PageConfig.getBaseUrl());
  const answer = await fetch(URLExt.join(base.href, 'qnb', kind, file));
  if (!answer.ok) {
    throw new Error(`${file} could not be read from the extension (${answer.status}); install qnb again`);
  }
  return answer.json();
}

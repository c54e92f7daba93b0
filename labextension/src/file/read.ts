import { strFromU8, unzipSync } from 'fflate';

import { IDocument, object, readDocument } from '../contract';

export const MEMBER = 'document.json';
const MEGABYTE = 1024 * 1024;
const LARGEST_FILE = 200 * MEGABYTE;
const LARGEST_DOCUMENT = 20 * MEGABYTE;
const AGAIN = 'Save it again where it was made: flow.save("…")';

/** What is wrong with a file, and what to do about it. */
export class Unreadable extends Error {
  constructor(
    message: string,
    readonly remedy: string
  ) {
    super(message);
  }
}

/** The document in a `.qnb` file (a zip). Nothing else in the file is read, and nothing in it is run. */
export function readFile(base64: string): IDocument {
  if (base64.length * 0.75 > LARGEST_FILE) {
    throw new Unreadable('The file is larger than 200 MB.', 'Read it in a notebook: qnb.load("…")');
  }
  const bytes = decode(base64);
  if (bytes[0] !== 0x50 || bytes[1] !== 0x4b) {
    throw new Unreadable(`The file (${bytes.length} bytes) is not a .qnb file: it does not begin like a zip.`, AGAIN);
  }
  return readDocument(parse(member(bytes)));
}

function decode(base64: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
  } catch {
    throw new Unreadable('The file could not be read from the server.', 'Open it again.');
  }
}

function member(bytes: Uint8Array): Uint8Array {
  const seen: string[] = [];
  const wanted = ({ name, originalSize }: { name: string; originalSize: number }) => {
    if (name === MEMBER && seen.includes(MEMBER)) {
      throw new Unreadable(`The file is damaged: it holds ${MEMBER} twice.`, AGAIN);
    }
    seen.push(name);
    if (name === MEMBER && originalSize > LARGEST_DOCUMENT) {
      throw new Unreadable('The document in the file is larger than 20 MB.', 'Read it in a notebook: qnb.load("…")');
    }
    return name === MEMBER;
  };
  const found = unzip(bytes, wanted)[MEMBER];
  if (found) {
    return found;
  }
  if (seen.includes('workflow.json')) {
    const remedy = 'In a notebook: flow = qnb.load("…"), then flow.save("…")';
    throw new Unreadable('The file was saved by an older qnb and has no dashboard.', remedy);
  }
  throw new Unreadable(`The file is a zip without ${MEMBER}: not made by qnb.`, AGAIN);
}

type Filter = (file: { name: string; originalSize: number }) => boolean;

function unzip(bytes: Uint8Array, filter: Filter): { [name: string]: Uint8Array } {
  try {
    return unzipSync(bytes, { filter });
  } catch (error) {
    throw error instanceof Unreadable ? error : new Unreadable(`The file is damaged (${String(error)}).`, AGAIN);
  }
}

function parse(bytes: Uint8Array): unknown {
  try {
    const found: unknown = JSON.parse(strFromU8(bytes));
    if (Object.keys(object(found)).length) {
      return found;
    }
  } catch {
    // said below
  }
  throw new Unreadable(`The file is damaged: ${MEMBER} cannot be read.`, AGAIN);
}

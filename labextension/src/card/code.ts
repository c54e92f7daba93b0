import { button, element } from '../dom';

/** Code to look at and to take along. */
export function drawCode(label: string, code: string): HTMLElement {
  const block = element('div', { class: 'qnb-Code' });
  if (label) {
    block.append(element('div', { class: 'qnb-Code-label' }, label));
  }
  if (code) {
    const pre = element('pre', { class: 'qnb-Code-text' }, code);
    const copy = button('Copy', () => void copyCode(code, copy), `Copy code: ${label || code.slice(0, 40)}`);
    block.append(element('div', { class: 'qnb-Code-row' }, pre, copy));
  }
  return block;
}

async function copyCode(code: string, copy: HTMLButtonElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(code);
    copy.textContent = 'Copied';
  } catch {
    // Pages that are not served securely have no clipboard.
    copy.textContent = select(copy.previousElementSibling) ? 'Press Ctrl+C' : 'Copy';
  }
  window.setTimeout(() => (copy.textContent = 'Copy'), 2000);
}

function select(node: Element | null): boolean {
  if (node) {
    window.getSelection()?.selectAllChildren(node);
  }
  return node !== null;
}

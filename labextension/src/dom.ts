/** Elements are made here and nowhere else, and text goes in as text: data never becomes markup. */

type Attributes = { [name: string]: string };
type Child = Node | string | null;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.append(...children.filter((child): child is Node | string => child !== null && child !== ''));
  return made;
}

/** A button with a visible label; `name` is what a screen reader says where the label alone is not enough. */
export function button(label: string, action: () => void, name = '', kind = ''): HTMLButtonElement {
  const made = element('button', { type: 'button', class: `qnb-Button ${kind}`.trim() }, label);
  if (name) {
    made.setAttribute('aria-label', name);
  }
  made.addEventListener('click', action);
  return made;
}

/** Shown to screen readers only. */
export function spoken(words: string): HTMLElement {
  return element('span', { class: 'qnb-spoken' }, words);
}

// Copy as code: into a new cell where JupyterLab has the qnb extension, else to the clipboard.

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No permission, or a page that is not secure: the old way, by selecting a text field.
    const field = document.createElement("textarea");
    field.value = text;
    button.after(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    button.focus();
    return done;
  }
}

function render({ model, el }) {
  el.classList.add("qnb-code");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button lm-mod-outline";
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  el.append(button, said);
  let timer = 0;
  const name = () => {
    button.textContent = model.get("label");
    button.title = model.get("code");
    button.disabled = !model.get("code");
  };
  button.onclick = async () => {
    const code = model.get("code");
    const event = new CustomEvent("qnb:insert-code", { detail: { code }, bubbles: true, cancelable: true });
    const taken = model.get("insert") && !document.dispatchEvent(event);
    said.textContent = taken ? "Inserted below" : (await copy(code, button)) ? "Copied" : "Could not copy";
    clearTimeout(timer);
    timer = setTimeout(() => { said.textContent = ""; }, 4000);
  };
  model.on("change:code change:label", name);
  name();
  return () => {
    clearTimeout(timer);
    model.off("change:code change:label", name);
  };
}

export default { render };
